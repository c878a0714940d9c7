// The stand-in for CUDA's runtime: see cuda_runtime_api.h beside this file.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda_runtime_api.h"

namespace {

char planted[32] = "";
std::atomic<int> alive{0}, launches{0};

// One step of a stream: a copy, or a function of the host.
struct Step {
    void* target;
    const void* source;
    std::size_t bytes;
    cudaHostFn_t function;

    void run() const {
        if (function != nullptr)
            function(target);
        else
            std::memcpy(target, source, bytes);
    }
};

cudaError_t allocate(void** memory, std::size_t bytes) {
    *memory = stand_in_has("no memory") != 0 ? nullptr : std::calloc(1, bytes);
    if (*memory == nullptr) return cudaErrorMemoryAllocation;
    stand_in_count(1);
    return cudaSuccess;
}

cudaError_t give_back(void* memory) {
    std::free(memory);
    stand_in_count(-1);
    return cudaSuccess;
}

template <typename Handle>
cudaError_t made(Handle* handle, Handle object) {
    *handle = object;
    stand_in_count(1);
    return cudaSuccess;
}

template <typename Handle>
cudaError_t destroyed(Handle handle) {
    delete handle;
    stand_in_count(-1);
    return cudaSuccess;
}

}  // namespace

struct CUgraph_st {
    std::vector<Step> steps;
};
struct CUgraphExec_st {
    std::vector<Step> steps;
};
struct CUstream_st {
    CUgraph_st* recorded = nullptr;

    void take(const Step& step) {
        if (recorded != nullptr)
            recorded->steps.push_back(step);
        else
            step.run();
    }
};
struct CUevent_st {
    int questions = 0;
};

extern "C" {

void stand_in_plant(const char* fault) { std::snprintf(planted, sizeof planted, "%s", fault); }
int stand_in_has(const char* fault) { return std::strcmp(planted, fault) == 0; }
void stand_in_count(int step) { alive += step; }
int stand_in_launches(void) { return launches; }
int stand_in_alive(void) { return alive; }

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "cudaSuccess";
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorNoDevice: return "cudaErrorNoDevice";
        default: return "unrecognized error code";
    }
}
const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
        case cudaErrorLaunchFailure: return "unspecified launch failure";
        default: return "unrecognized error code";
    }
}
cudaError_t cudaGetLastError(void) { return cudaSuccess; }

cudaError_t cudaSetDevice(int) { return stand_in_has("no device") != 0 ? cudaErrorNoDevice : cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    bool is_other = stand_in_has("other device") != 0;
    std::snprintf(properties->name, sizeof properties->name, "%s", is_other ? "Other GPU" : "Stand-in GPU");
    properties->major = 8;
    properties->minor = is_other ? 6 : 7;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
    *version = 12060;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) { return allocate(memory, bytes); }
cudaError_t cudaFree(void* memory) { return give_back(memory); }
cudaError_t cudaMallocHost(void** memory, size_t bytes) { return allocate(memory, bytes); }
cudaError_t cudaFreeHost(void* memory) { return give_back(memory); }
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    stream->take({target, source, bytes, nullptr});
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return made(stream, new CUstream_st); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return destroyed(stream); }
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
    stream->take({data, nullptr, 0, function});
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return made(event, new CUevent_st); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return destroyed(event); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    event->questions = 0;
    return cudaSuccess;
}
// Ready at the third question.
cudaError_t cudaEventQuery(cudaEvent_t event) {
    if (stand_in_has("hang") != 0) return cudaErrorNotReady;
    if (stand_in_has("illegal address") != 0) return cudaErrorIllegalAddress;
    return ++event->questions < 3 ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    if (stand_in_has("no capture") != 0) return cudaErrorStreamCaptureUnsupported;
    return made(&stream->recorded, new CUgraph_st);
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    *graph = stream->recorded;
    stream->recorded = nullptr;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* launch, cudaGraph_t graph, unsigned long long) {
    return made(launch, new CUgraphExec_st{graph->steps});
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t launch, cudaStream_t) {
    if (stand_in_has("launch") != 0) return cudaErrorLaunchFailure;
    for (const Step& step : launch->steps) step.run();
    ++launches;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return destroyed(graph); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t launch) { return destroyed(launch); }
}
