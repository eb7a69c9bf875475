from .catalogue import load_data as load_data
from .dataset import Dataset as Dataset
from .split import fixed_split as fixed_split
from .split import stratified_subset as stratified_subset
from .teacher import LinearTeacher as LinearTeacher
from .teacher import linear_teacher as linear_teacher
