/* What memlens sees of a free-threaded CPython 3.14.9 whose structures are none that it knows: the version, and `_Py_DebugOffsets` of zeros. */
#include <stdint.h>
#include <stdio.h>

extern const unsigned long Py_Version;
extern uint64_t _PyRuntime[512];
const char *Py_GetVersion(void);

const unsigned long Py_Version = 0x030e09f0;
uint64_t _PyRuntime[512] = {0x7970677562656478 /* "xdebugpy" */, 0x030e09f0, 1};

const char *Py_GetVersion(void)
{
    return "3.14.9 free-threading build (made up)";
}

int main(void)
{
    FILE *ran = fopen("ran", "w");
    return ran == NULL || fclose(ran) != 0;
}
