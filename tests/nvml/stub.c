/* A stand-in for libnvidia-ml.so.1: the calls that we make, about made-up GPUs.
 *
 * GPU 0 is whole. GPU 1 is in MIG mode with two instances, in places 0 and 2 of 4, and does not tell its own memory, as
 * to anybody but root. With -DWITH_LOST there is a GPU 2
 * that has fallen off the bus, and with -DREFUSAL=N nvmlInit_v2 returns N. The memory of GPU 0 shrinks by 1 MiB with
 * every reading, so that a test can tell two readings apart. With -DTELLS_PROCESSES it knows who has how much.
 */
#include <string.h>
#include <unistd.h>

#define SUCCESS 0
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define NO_PERMISSION 4
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define GPU_IS_LOST 15
#define ARGUMENT_VERSION_MISMATCH 25
#define MIB (1024ULL * 1024ULL)

typedef struct {
    const char *uuid, *name;
    unsigned long long total, free;
    unsigned int mig, lost;
} Gpu;

typedef struct {
    unsigned int version;
    unsigned long long total, reserved, free, used;
} MemoryV2;

typedef struct {
    unsigned int pid;
    unsigned long long used;
    unsigned int gpu_instance, compute_instance;
} Process;

#ifdef IN_A_CONTAINER
static unsigned int own_number(void) { return 2; }
#else
static unsigned int own_number(void) { return (unsigned int)getpid(); }
#endif

static Gpu gpus[] = {
    {"GPU-00000000-whole", "NVIDIA Stub 24G", 24576 * MIB, 20000 * MIB, 0, 0},
    {"GPU-11111111-split", "NVIDIA Stub 80G", 81920 * MIB, 81000 * MIB, 1, 0},
    {"GPU-22222222-lost", "NVIDIA Stub 8G", 8192 * MIB, 8000 * MIB, 0, 1},
};
static Gpu parts[] = {
    {"MIG-aaaaaaaa-first", "NVIDIA Stub 80G MIG 1g.10gb", 10240 * MIB, 10000 * MIB, 0, 0},
    {0, 0, 0, 0, 0, 0},
    {"MIG-bbbbbbbb-third", "NVIDIA Stub 80G MIG 3g.40gb", 40960 * MIB, 40000 * MIB, 0, 0},
    {0, 0, 0, 0, 0, 0},
};

#ifdef WITH_LOST
static const unsigned int n_gpus = 3;
#else
static const unsigned int n_gpus = 2;
#endif
static const unsigned int n_parts = 4;

#ifndef REFUSAL
#define REFUSAL SUCCESS
#endif

int nvmlInit_v2(void) { return REFUSAL; }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    strncpy(version, "580.95.05", length);
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 13000;
    return SUCCESS;
}

#ifdef TELLS_PROCESSES
/* This process with 400 MiB, and another one; with -DIN_A_CONTAINER under a number that it does not have here. */
int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *device, unsigned int *count, Process *processes) {
    const Process running[] = {{1, 3000 * MIB, 0, 0}, {own_number(), 400 * MIB, 0, 0}};
    unsigned int room = *count;
    (void)device;
    *count = 2;
    if (room < 2) return INSUFFICIENT_SIZE;
    memcpy(processes, running, sizeof running);
    return SUCCESS;
}
#endif

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = n_gpus;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Gpu **device) {
    if (index >= n_gpus) return INVALID_ARGUMENT;
    *device = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **device) {
    for (unsigned int i = 0; i < n_gpus; i++)
        if (strcmp(gpus[i].uuid, uuid) == 0) return *device = &gpus[i], SUCCESS;
    for (unsigned int i = 0; i < n_parts; i++)
        if (parts[i].uuid && strcmp(parts[i].uuid, uuid) == 0) return *device = &parts[i], SUCCESS;
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(Gpu *device, char *uuid, unsigned int length) {
    strncpy(uuid, device->uuid, length);
    return SUCCESS;
}

int nvmlDeviceGetName(Gpu *device, char *name, unsigned int length) {
    strncpy(name, device->name, length);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(Gpu *device, MemoryV2 *memory) {
    if (memory->version != (sizeof(MemoryV2) | 2 << 24)) return ARGUMENT_VERSION_MISMATCH;
    if (device->lost) return GPU_IS_LOST;
    if (device->mig) return NO_PERMISSION;
    memory->total = device->total;
    memory->free = device->free;
    memory->used = device->total - device->free;
    memory->reserved = 0;
    if (device == &gpus[0]) device->free -= MIB;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Gpu *device, int *major, int *minor) {
    *major = 9;
    *minor = 0;
    return device->lost ? GPU_IS_LOST : SUCCESS;
}

/* An instance has no limit of its own. */
int nvmlDeviceGetEnforcedPowerLimit(Gpu *device, unsigned int *milliwatts) {
    if (device >= parts && device < parts + n_parts) return NOT_SUPPORTED;
    *milliwatts = 350000;
    return SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(Gpu *device, unsigned int clock, unsigned int *mhz) {
    if (device->lost) return GPU_IS_LOST;
    *mhz = clock == 1 ? 1980 : clock == 2 ? 6251 : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(Gpu *device, unsigned int *current, unsigned int *pending) {
    if (!device->mig) return NOT_SUPPORTED;
    *current = *pending = 1;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(Gpu *device, unsigned int *count) {
    *count = device->mig ? n_parts : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Gpu *device, unsigned int index, Gpu **part) {
    if (!device->mig || index >= n_parts) return INVALID_ARGUMENT;
    if (!parts[index].uuid) return NOT_FOUND;
    *part = &parts[index];
    return SUCCESS;
}
