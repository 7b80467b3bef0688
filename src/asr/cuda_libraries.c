// The driver's library and cuBLAS, opened when they are first needed instead of when the program starts.
//
// The CUDA part of whisper.cpp calls these functions of the two libraries and no others. Linked in the usual way, the
// loader would refuse the whole program where one of them is missing, also where nobody wants to use a GPU. So the
// functions are here, under their own names, and hand on to the library. Without it they fail as the library does where
// there is no device; nobody comes so far who has asked `missing_cuda_library` first.
//
// A function that a later whisper.cpp needs besides is told by the linker: the libraries themselves are not linked in.

#define _GNU_SOURCE
#include <cublas_v2.h>
#include <cuda.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Libraries of CUDA carry its major version.
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
#if CUDA_VERSION >= 14000 || CUDA_VERSION < 12000
#error "this is for CUDA 12 and 13"
#elif CUDA_VERSION >= 13000
#define MAJOR 13
#else
#define MAJOR 12
#endif

static void *driver, *cublas;
static char missing[1024];
static pthread_once_t opened = PTHREAD_ONCE_INIT;

static void *open_in(const char *folder, const char *library) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", library);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

// The folder of the program itself; empty, which means the loader's own search, where that is not to be found out.
static const char *own_folder(void) {
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    char *slash = length > 0 ? strrchr(path, '/') : NULL;
    if (slash == NULL) return "";
    *slash = '\0';
    return path;
}

static void open_cublas(void) {
    const char *folders[] = {"", own_folder(), "/usr/local/cuda/lib64", "/opt/cuda/lib64", TOOLKIT "/lib64"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders && cublas == NULL; i++) {
        // cuBLAS needs this one, and finds it where it has been loaded from already.
        if (open_in(folders[i], "libcublasLt.so." TEXT(MAJOR)) != NULL)
            cublas = open_in(folders[i], "libcublas.so." TEXT(MAJOR));
        // The first answer is the loader's own, which is the one to tell.
        if (cublas == NULL && *missing == '\0') snprintf(missing, sizeof missing, "%s", dlerror());
    }
    if (cublas != NULL) *missing = '\0';
}

static void open_libraries(void) {
    driver = open_in("", "libcuda.so.1");
    if (driver == NULL) {
        snprintf(missing, sizeof missing, "%s", dlerror());
        return;
    }
    open_cublas();
}

// Why the GPU cannot be used: what the loader says of the library that is missing. NULL when both are there.
const char *missing_cuda_library(void) {
    pthread_once(&opened, open_libraries);
    return *missing == '\0' ? NULL : missing;
}

static void *function_of(void **library, const char *name) {
    pthread_once(&opened, open_libraries);
    return *library == NULL ? NULL : dlsym(*library, name);
}

// Defines `name`, which hands on to the function of that name in `library`, or returns `failure` without one. Threads
// that are here at the same time for the first time find the same address.
#define HAND_ON(library, failure, type, name, parameters, arguments)                          \
    type name parameters {                                                                    \
        static type(*found) parameters;                                                       \
        type(*function) parameters = __atomic_load_n(&found, __ATOMIC_RELAXED);               \
        if (function == NULL) {                                                               \
            *(void **)&function = function_of(&library, TEXT(name));                          \
            if (function == NULL) return failure;                                             \
            __atomic_store_n(&found, function, __ATOMIC_RELAXED);                             \
        }                                                                                     \
        return function arguments;                                                            \
    }

#define DRIVER(name, parameters, arguments) \
    HAND_ON(driver, CUDA_ERROR_NO_DEVICE, CUresult, name, parameters, arguments)

DRIVER(cuDeviceGet, (CUdevice * device, int ordinal), (device, ordinal))
DRIVER(cuDeviceGetAttribute, (int *value, CUdevice_attribute attribute, CUdevice device), (value, attribute, device))
DRIVER(cuGetErrorString, (CUresult error, const char **text), (error, text))
DRIVER(cuMemAddressFree, (CUdeviceptr address, size_t size), (address, size))
DRIVER(cuMemAddressReserve,
       (CUdeviceptr * address, size_t size, size_t alignment, CUdeviceptr wanted, unsigned long long flags),
       (address, size, alignment, wanted, flags))
DRIVER(cuMemCreate,
       (CUmemGenericAllocationHandle * handle, size_t size, const CUmemAllocationProp *properties,
        unsigned long long flags),
       (handle, size, properties, flags))
DRIVER(cuMemGetAllocationGranularity,
       (size_t *granularity, const CUmemAllocationProp *properties, CUmemAllocationGranularity_flags option),
       (granularity, properties, option))
DRIVER(cuMemMap,
       (CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags),
       (address, size, offset, handle, flags))
DRIVER(cuMemRelease, (CUmemGenericAllocationHandle handle), (handle))
DRIVER(cuMemSetAccess, (CUdeviceptr address, size_t size, const CUmemAccessDesc *access, size_t count),
       (address, size, access, count))
DRIVER(cuMemUnmap, (CUdeviceptr address, size_t size), (address, size))

#define CUBLAS(name, parameters, arguments) \
    HAND_ON(cublas, CUBLAS_STATUS_NOT_INITIALIZED, cublasStatus_t, name, parameters, arguments)

CUBLAS(cublasCreate, (cublasHandle_t * handle), (handle))
CUBLAS(cublasDestroy, (cublasHandle_t handle), (handle))
CUBLAS(cublasSetMathMode, (cublasHandle_t handle, cublasMath_t mode), (handle, mode))
CUBLAS(cublasSetStream, (cublasHandle_t handle, cudaStream_t stream), (handle, stream))
CUBLAS(cublasSgemm,
       (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
        const float *alpha, const float *a, int lda, const float *b, int ldb, const float *beta, float *c, int ldc),
       (handle, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc))
CUBLAS(cublasGemmEx,
       (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
        const void *alpha, const void *a, cudaDataType a_type, int lda, const void *b, cudaDataType b_type, int ldb,
        const void *beta, void *c, cudaDataType c_type, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t algo),
       (handle, transa, transb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute, algo))
CUBLAS(cublasGemmBatchedEx,
       (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
        const void *alpha, const void *const a[], cudaDataType a_type, int lda, const void *const b[],
        cudaDataType b_type, int ldb, const void *beta, void *const c[], cudaDataType c_type, int ldc, int count,
        cublasComputeType_t compute, cublasGemmAlgo_t algo),
       (handle, transa, transb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, count, compute,
        algo))
CUBLAS(cublasGemmStridedBatchedEx,
       (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
        const void *alpha, const void *a, cudaDataType a_type, int lda, long long int a_stride, const void *b,
        cudaDataType b_type, int ldb, long long int b_stride, const void *beta, void *c, cudaDataType c_type, int ldc,
        long long int c_stride, int count, cublasComputeType_t compute, cublasGemmAlgo_t algo),
       (handle, transa, transb, m, n, k, alpha, a, a_type, lda, a_stride, b, b_type, ldb, b_stride, beta, c, c_type,
        ldc, c_stride, count, compute, algo))
CUBLAS(cublasStrsmBatched,
       (cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t uplo, cublasOperation_t trans,
        cublasDiagType_t diag, int m, int n, const float *alpha, const float *const a[], int lda, float *const b[],
        int ldb, int count),
       (handle, side, uplo, trans, diag, m, n, alpha, a, lda, b, ldb, count))

// The one function that gives no status.
const char *cublasGetStatusString(cublasStatus_t status) {
    const char *(*found)(cublasStatus_t);
    *(void **)&found = function_of(&cublas, TEXT(cublasGetStatusString));
    return found == NULL ? "cuBLAS is not there" : found(status);
}
