// Header-only module; SwiftPM wants one source.
#include "CLinux.h"
