"""`edgenet watch`: a run as a live page of this host's own browser.

state     what the page shows, folded from the run's files
usage     how full each direction of each link is
feed      the lines of the log
guard     who may see the page: a token, this host's own names, no foreign pages
server    the page and its events, over HTTP on loopback
page/     what the browser gets: HTML, CSS and JavaScript as they are written, no build
"""
