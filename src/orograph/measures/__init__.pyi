from .cost import seconds as seconds
from .measurement import Measurement as Measurement
from .measurement import measure as measure
from .scan import coefficient_scan as coefficient_scan
from .table import take as take
