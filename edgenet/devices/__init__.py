"""Device profiles: how fast a device trains, what it holds in memory, what it draws from the wall.

A node with a profile is slowed down on the host until it trains at `training_flops`, and held to
its memory and cores where the host can do that; power is used for accounting. Layer 1: no torch.
"""

from edgenet.devices.boards import PROFILES, device
from edgenet.devices.files import as_device, read_profile, write_profile
from edgenet.devices.profile import Device

__all__ = ["PROFILES", "Device", "as_device", "device", "read_profile", "write_profile"]
