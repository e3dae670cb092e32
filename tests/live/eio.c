/* LD_PRELOAD: syncs fail with EIO once the file that EIO_WHEN names exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int failing(void) {
    const char *when = getenv("EIO_WHEN");
    return when && access(when, F_OK) == 0;
}

static int through(const char *name, int fd) {
    if (failing()) {
        errno = EIO;
        return -1;
    }
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return next(fd);
}

int fsync(int fd) { return through("fsync", fd); }
int fdatasync(int fd) { return through("fdatasync", fd); }
