#ifndef FS_CFUZZER_H
#define FS_CFUZZER_H

#include <stddef.h>
#include <stdint.h>

/// libFuzzer's loop, for a program that has a main of its own (llvm.org/docs/LibFuzzer.html).
int LLVMFuzzerRunDriver(int *argc, char ***argv,
                        int (*callback)(const uint8_t *data, size_t size));

#endif
