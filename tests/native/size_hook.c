/* Loaded before the C library: files have the size that PHYSEDGE_TEST_SIZE says, as one that grew after it was asked. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>

int fstat(int file, struct stat *status) {
    int (*real)(int, struct stat *) = (int (*)(int, struct stat *))dlsym(RTLD_NEXT, "fstat");
    int result = real(file, status);
    const char *size = getenv("PHYSEDGE_TEST_SIZE");
    if (result == 0 && size != NULL && S_ISREG(status->st_mode) && status->st_size > atoll(size)) status->st_size = atoll(size);
    return result;
}
