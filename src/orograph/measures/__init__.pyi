from .cost import seconds as seconds
from .measurement import Measurement as Measurement
from .measurement import measure as measure
from .table import take as take
