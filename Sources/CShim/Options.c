// What is known of each option.
#include "CShim.h"

#define FS_ROW(number, level, name, check, properties) {level, name, properties, check},

const struct fs_option fs_options[FS_OPTION_COUNT] = {
    FS_SWITCH_OPTIONS(FS_ROW) FS_NUMBER_OPTIONS(FS_ROW)};
