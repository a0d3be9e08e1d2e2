// The counters of what falls back to the kernel.
#include "CShim.h"

__attribute__((section(".fsocket.fallbacks"), used)) struct fs_fallback
    fs_fallbacks[FS_FALLBACK_COUNT] = {
#define X(name, text) [FS_FALLBACK_##name] = {text, 0},
        FS_FALLBACKS(X)
#undef X
};
