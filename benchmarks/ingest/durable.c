/* storescp made durable: loaded by LD_PRELOAD, it syncs each file before it is closed. Auscult syncs the name too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

int fclose(FILE *file)
{
    static int (*real)(FILE *);
    if (!real)
        real = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    fflush(file);
    fdatasync(fileno(file));
    return real(file);
}
