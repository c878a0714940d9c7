// The contract of an engine: opened with a graph and the caller's buffers, started on one input, waited for.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "manifest.hpp"

namespace physedge {

// All that an engine is opened with. The buffers stay where they are as long as the engine lives.
struct EngineRequest {
    std::string_view graph;     // the ONNX file; it was looked through, and lives until `open` has returned
    std::string graph_sha256;
    // Of the bundle's manifest, and of its recipe for TensorRT ("" for none): which built engine belongs to the graph.
    std::string bundle_sha256, recipe_sha256;
    bool is_picture = true;     // uint8 (1, height, width, channel), else float32 (1, voltage)
    std::vector<std::int64_t> input_shape;  // with the batch axis
    const void* input = nullptr;
    std::vector<Output> outputs;            // shapes without the batch axis
    std::vector<float*> output_buffers;
    unsigned threads = 0;                   // 0 for the engine's own choice
    std::string cache_folder;               // "" for none
};

// The graph does not answer what the manifest says: the bundle's fault (PE-BUNDLE-021).
struct CannotAnswer : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Engine {
public:
    virtual ~Engine() = default;

    // Make the graph ready. Throws CannotAnswer, or anything else where the library refuses the graph (PE-ENGINE-002).
    virtual void open(const EngineRequest& request) = 0;

    enum class State { done, busy, failed };
    // Begin to answer what lies in the input buffer. No memory of the heap is taken by our side.
    virtual State start() noexcept = 0;
    // Wait for at most this long; the outputs lie in their buffers when it is done.
    virtual State wait(unsigned milliseconds) noexcept = 0;
    // Give up on what is being answered; true where the engine then lets go of the buffers.
    virtual bool cancel() noexcept = 0;
    // What failed last, in a line.
    virtual const char* failure() const noexcept = 0;
    virtual std::string version() const = 0;
};

// One line of the table of engines.
struct EngineEntry {
    const char* name;
    std::unique_ptr<Engine> (*make)();
};

// The engines that were compiled in, the preferred first. Ends with a name of nullptr.
const EngineEntry* engine_table();
// The line, or nullptr.
const EngineEntry* find_engine(std::string_view name);

}  // namespace physedge
