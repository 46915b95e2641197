/* A libnvidia-ml.so.1 for tests: answers what NVML_STUB_* say, in NVML's own binary form, so that the real pynvml is
   asked. NVML_STUB_ERRORS lists functions that fail, `nvmlDeviceGetMigMode=3`; a function that is not here is one that an
   older driver lacks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *device;

static int told_error(const char *function) {
    char key[128];
    const char *list = getenv("NVML_STUB_ERRORS"), *found;
    snprintf(key, sizeof key, "%s=", function);
    found = list ? strstr(list, key) : NULL;
    return found ? atoi(found + strlen(key)) : 0;
}

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value && *value ? atoi(value) : otherwise;
}

static void text(char *into, unsigned length, const char *variable) {
    snprintf(into, length, "%s", getenv(variable) ? getenv(variable) : "");
}

#define ANSWER(...) \
    { int error = told_error(__func__); if (error) return error; __VA_ARGS__; return 0; }

int nvmlInitWithFlags(unsigned flags) ANSWER((void)flags)
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int error) { (void)error; return "an error of the stub"; }
int nvmlSystemGetDriverVersion(char *into, unsigned length) ANSWER(text(into, length, "NVML_STUB_DRIVER"))
int nvmlSystemGetCudaDriverVersion(int *cuda) ANSWER(*cuda = number("NVML_STUB_CUDA", 13000))
int nvmlSystemGetProcessName(unsigned pid, char *into, unsigned length) ANSWER(snprintf(into, length, "process %u", pid))
int nvmlDeviceGetCount_v2(unsigned *count) ANSWER(*count = number("NVML_STUB_COUNT", 1))
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *gpu) ANSWER(*gpu = (device)(size_t)(index + 1))
int nvmlDeviceGetName(device gpu, char *into, unsigned length) ANSWER((void)gpu; text(into, length, "NVML_STUB_NAME"))
int nvmlDeviceGetUUID(device gpu, char *into, unsigned length)
    ANSWER(snprintf(into, length, (size_t)gpu < 100 ? "GPU-%zu" : "MIG-%zu", (size_t)gpu))
int nvmlDeviceGetPciInfo_v3(device gpu, char *info)
    ANSWER(memset(info, 0, 68); snprintf(info + 36, 32, "00000000:%02zX:00.0", (size_t)gpu + 15))
int nvmlDeviceGetCudaComputeCapability(device gpu, int *major, int *minor)
    ANSWER((void)gpu; *major = number("NVML_STUB_MAJOR", 9); *minor = number("NVML_STUB_MINOR", 0))
int nvmlDeviceGetMemoryInfo(device gpu, unsigned long long *memory)
    ANSWER((void)gpu; memory[0] = 80ull << 30; memory[1] = 79ull << 30; memory[2] = 1ull << 30)
int nvmlDeviceGetTemperature(device gpu, int sensor, unsigned *celsius) ANSWER((void)gpu; (void)sensor; *celsius = 34)
int nvmlDeviceGetMigMode(device gpu, unsigned *now, unsigned *next)
    ANSWER((void)gpu; *now = *next = number("NVML_STUB_MIG", 0) > 0)
int nvmlDeviceGetMaxMigDeviceCount(device gpu, unsigned *count) ANSWER((void)gpu; *count = 7)
int nvmlDeviceGetMigDeviceHandleByIndex(device gpu, unsigned index, device *instance)
    ANSWER((void)gpu; if ((int)index >= number("NVML_STUB_MIG", 0)) return 6; *instance = (device)(size_t)(100 + index))
int nvmlDeviceGetRemappedRows(device gpu, unsigned *one, unsigned *two, unsigned *pending, unsigned *failed)
    ANSWER((void)gpu; *one = *two = *pending = *failed = 0)
int nvmlDeviceGetCurrentClocksThrottleReasons(device gpu, unsigned long long *reasons)
    ANSWER((void)gpu; *reasons = number("NVML_STUB_THROTTLE", 1))
int nvmlDeviceGetNvLinkState(device gpu, unsigned link, unsigned *up)
    ANSWER((void)gpu; if ((int)link >= number("NVML_STUB_LINKS", 18)) return 2;
           *up = (int)link < number("NVML_STUB_LINKS_UP", 18))
int nvmlDeviceGetPersistenceMode(device gpu, unsigned *mode) ANSWER((void)gpu; *mode = 1)
int nvmlDeviceGetComputeMode(device gpu, unsigned *mode) ANSWER((void)gpu; *mode = 0)
int nvmlDeviceGetTotalEccErrors(device gpu, int kind, int counter, unsigned long long *count)
    ANSWER((void)gpu; (void)kind; (void)counter; *count = 0)
int nvmlDeviceGetComputeRunningProcesses_v3(device gpu, unsigned *count, void *processes)
    ANSWER((void)gpu; (void)processes; *count = 0)
int nvmlDeviceGetGpuFabricInfo(device gpu, unsigned *info)
    ANSWER((void)gpu; memset(info, 0, 28); info[6] = number("NVML_STUB_FABRIC", 3))
