// Header-only module; SwiftPM wants one source.
#include "CLaboratory.h"
