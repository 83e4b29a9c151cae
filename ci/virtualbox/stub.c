/*
 * Stands in for VirtualBox' VBoxHeadless in the tests' own tree: the same front end without the kernel
 * driver, so that VirtualBox' interpreter executes the guest. Only machines whose execution engine is the
 * interpreter or the recompiler start in it. Never a part of hpcvm: real hosts have the driver.
 *
 * It relies on what VBoxRT.so exports and nothing documents (seen with VirtualBox 7.2).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

#define SUPR3INIT_F_DRIVERLESS (1u << 2)
#define SUPR3INIT_F_DRIVERLESS_IEM_ALLOWED (1u << 3)
#define FLAGS (SUPR3INIT_F_DRIVERLESS | SUPR3INIT_F_DRIVERLESS_IEM_ALLOWED)
#define RTR3INIT_FLAGS_SUPLIB_SHIFT 16

static void *symbol(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    void *found = handle ? dlsym(handle, name) : 0;
    if (!found)
        fprintf(stderr, "VBoxHeadless without driver: %s\n", dlerror());
    return found;
}

int main(int argc, char **argv, char **envp)
{
    static const char runtime[] = "/usr/lib/virtualbox/VBoxRT.so";
    int (*begin)(int, char ***, uint32_t) = (int (*)(int, char ***, uint32_t))symbol(runtime, "RTR3InitExe");
    int (*support)(uint32_t, void **) = (int (*)(uint32_t, void **))symbol(runtime, "SUPR3InitEx");
    if (!begin || !support)
        return 1;
    int status = begin(argc, &argv, FLAGS << RTR3INIT_FLAGS_SUPLIB_SHIFT);
    if (status >= 0)
        status = support(FLAGS, 0);
    if (status < 0) {
        fprintf(stderr, "VBoxHeadless without driver: error %d\n", status);
        return 1;
    }
    int (*front)(int, char **, char **) =
        (int (*)(int, char **, char **))symbol("/usr/lib/virtualbox/VBoxHeadless.so", "TrustedMain");
    return front ? front(argc, argv, envp) : 1;
}
