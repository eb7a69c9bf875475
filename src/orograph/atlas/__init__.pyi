from .graph import read_atlas as read_atlas
