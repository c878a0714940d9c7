// OpenVINO on the CPU, through its C library: one request at a time, for latency.
#include <openvino/c/openvino.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "engines/engine.hpp"
#include "engines/engine_store.hpp"
#include "hash.hpp"
#include "ir_check.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

void check(ov_status_e status, const char* what) {
    if (status == OK) return;
    const char* detail = ov_get_last_err_msg();
    std::string text = std::string(what) + ": " + (detail != nullptr ? detail : ov_get_error_info(status));
    throw std::runtime_error(text.substr(0, text.find('\n')));
}

template <typename Handle, void (*give_back)(Handle*)>
struct Owned {
    Handle* handle = nullptr;
    Owned() = default;
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    ~Owned() {
        if (handle != nullptr) give_back(handle);
    }
};

using OwnedCore = Owned<ov_core_t, ov_core_free>;
using OwnedModel = Owned<ov_model_t, ov_model_free>;
using OwnedCompiled = Owned<ov_compiled_model_t, ov_compiled_model_free>;
using OwnedRequest = Owned<ov_infer_request_t, ov_infer_request_free>;
using OwnedTensor = Owned<ov_tensor_t, ov_tensor_free>;
using OwnedPort = Owned<ov_output_const_port_t, ov_output_const_port_free>;

// A shape of at most PHYSEDGE_MOST_AXES and a batch axis, without memory of its own.
struct Shape {
    std::int64_t dims[PHYSEDGE_MOST_AXES + 1];
    ov_shape_t shape;

    explicit Shape(const std::vector<std::int64_t>& sides) {
        for (std::size_t axis = 0; axis < sides.size(); ++axis) dims[axis] = sides[axis];
        shape = {static_cast<std::int64_t>(sides.size()), dims};
    }
    std::string text() const {
        std::string shown;
        for (std::int64_t axis = 0; axis < shape.rank; ++axis) shown += (axis == 0 ? "" : " x ") + std::to_string(dims[axis]);
        return shown;
    }
};

class OpenVinoEngine final : public Engine {
public:
    ~OpenVinoEngine() override {
        // What hangs in there would be waited for without end: its memory is given up instead.
        if (is_lost_) {
            request_.handle = nullptr;
            compiled_.handle = nullptr;
            core_.handle = nullptr;
            constants_.handle = nullptr;
            new std::vector<char>(std::move(weights_));
        }
    }

    void open(const EngineRequest& request) override {
        check(ov_core_create(&core_.handle), "OpenVINO cannot start");
        if (request.cache_folder.empty() || !take_kept(request)) {
            OwnedModel model;
            read(request.graph, model);
            set_static_shape(model.handle, request);
            compile(model.handle, request.threads);
            if (!request.cache_folder.empty()) keep(request);
        }
        check(ov_compiled_model_create_infer_request(compiled_.handle, &request_.handle), "no request can be made");
        bind_input(request);
        for (std::size_t index = 0; index < request.outputs.size(); ++index)
            bind_output(request.outputs[index], request.output_buffers[index]);
    }

    State start() noexcept override { return state_of(ov_infer_request_start_async(request_.handle)); }

    State wait(unsigned milliseconds) noexcept override {
        return state_of(ov_infer_request_wait_for(request_.handle, static_cast<std::int64_t>(milliseconds)));
    }

    bool cancel() noexcept override {
        constexpr std::int64_t patience_ms = 1000;
        ov_infer_request_cancel(request_.handle);
        is_lost_ = ov_infer_request_wait_for(request_.handle, patience_ms) == RESULT_NOT_READY;
        return !is_lost_;
    }

    const char* failure() const noexcept override { return failure_; }

    std::string version() const override {
        ov_version_t version{};
        if (ov_get_openvino_version(&version) != OK) return "unknown";
        std::string number = version.buildNumber;
        ov_version_free(&version);
        return number.substr(0, number.find('-'));
    }

private:
    std::vector<char> weights_;
    OwnedTensor constants_;
    OwnedCore core_;
    OwnedCompiled compiled_;
    OwnedTensor input_, outputs_[PHYSEDGE_MOST_OUTPUTS];
    std::size_t bound_ = 0;
    OwnedRequest request_;
    bool is_lost_ = false;
    char failure_[200] = "";

    State state_of(ov_status_e status) noexcept {
        if (status == OK) return State::done;
        if (status == RESULT_NOT_READY) return State::busy;
        copy_text(failure_, ov_get_error_info(status));
        return State::failed;
    }

    // A graph with a batch axis that is left open is closed to one frame.
    static void set_static_shape(ov_model_t* model, const EngineRequest& request) {
        if (!ov_model_is_dynamic(model)) return;
        Shape wanted(request.input_shape);
        ov_partial_shape_t partial{};
        check(ov_shape_to_partial_shape(wanted.shape, &partial), "the input's shape");
        ov_status_e status = ov_model_reshape_single_input(model, partial);
        ov_partial_shape_free(&partial);
        if (status != OK) throw CannotAnswer("the graph does not take " + wanted.text());
    }

    void read(std::string_view graph, OwnedModel& model) {
        if (!is_ir(graph)) {
            check(ov_core_read_model_from_memory_buffer(core_.handle, graph.data(), graph.size(), nullptr, &model.handle),
                  "the graph cannot be read");
            return;
        }
        // The model keeps on reading its constants: they are copied, since the bundle may go.
        IrParts parts = unpack_ir(graph, "the graph");
        weights_.assign(parts.weights.begin(), parts.weights.end());
        Shape shape({static_cast<std::int64_t>(weights_.size())});
        check(ov_tensor_create_from_host_ptr(U8, shape.shape, weights_.data(), &constants_.handle), "the constants");
        check(ov_core_read_model_from_memory_buffer(core_.handle, parts.xml.data(), parts.xml.size(), constants_.handle, &model.handle),
              "the graph cannot be read");
    }

    void compile(ov_model_t* model, unsigned threads) {
        // Without the second a processor with bfloat16 would answer in bfloat16, and nobody judged that.
        std::string count = std::to_string(threads);
        ov_status_e status =
            threads == 0 ? ov_core_compile_model(core_.handle, model, "CPU", 4, &compiled_.handle, "PERFORMANCE_HINT", "LATENCY",
                                                 "INFERENCE_PRECISION_HINT", "f32")
                         : ov_core_compile_model(core_.handle, model, "CPU", 6, &compiled_.handle, "PERFORMANCE_HINT", "LATENCY",
                                                 "INFERENCE_PRECISION_HINT", "f32", "INFERENCE_NUM_THREADS", count.c_str());
        check(status, "the graph cannot be compiled");
    }

    // OpenVINO's own cache loads whatever lies in its folder: what is kept here is kept by the rules of engine_store.hpp.
    // It saves time only: what cannot be used is compiled.
    PlanKey key(const EngineRequest& request) const {
        return {{"architecture", instruction_sets()},
                {"builder", "libphysedge openvino"},
                {"bundle_sha256", request.bundle_sha256},
                {"device", processor_name()},
                {"driver", ""},
                {"graph_sha256", request.graph_sha256},
                {"recipe_sha256", sha256("LATENCY f32 threads " + std::to_string(request.threads))},
                {"version", version() + " libphysedge " PHYSEDGE_VERSION}};
    }

    bool take_kept(const EngineRequest& request) {
        try {
            std::optional<std::string> kept = load_engine(request.cache_folder, key(request));
            if (!kept) return false;
            // What is imported takes its properties from the core: without them it would compute in bfloat16.
            std::string count = std::to_string(request.threads);
            bool is_set = ov_core_set_property(core_.handle, "CPU", "PERFORMANCE_HINT", "LATENCY") == OK &&
                          ov_core_set_property(core_.handle, "CPU", "INFERENCE_PRECISION_HINT", "f32") == OK &&
                          (request.threads == 0 || ov_core_set_property(core_.handle, "CPU", "INFERENCE_NUM_THREADS", count.c_str()) == OK);
            return is_set && ov_core_import_model(core_.handle, kept->data(), kept->size(), "CPU", &compiled_.handle) == OK;
        } catch (const Refusal&) {
            return false;
        }
    }

    void keep(const EngineRequest& request) const {
        try {
            std::string path = engine_folder(request.cache_folder) + "/.export.XXXXXX";
            int handle = ::mkostemp(path.data(), O_CLOEXEC);
            if (handle < 0) return;
            ::close(handle);
            std::optional<std::string> engine;
            if (ov_compiled_model_export_model(compiled_.handle, path.c_str()) == OK)
                engine = read_private_file<std::string>(path, std::size_t{4} << 30);
            ::unlink(path.c_str());
            if (engine) store_engine(request.cache_folder, key(request), *engine);
        } catch (const Refusal&) {
            return;
        }
    }

    static bool has_form(const ov_output_const_port_t* port, const Shape& wanted, ov_element_type_e type) {
        ov_shape_t found{};
        ov_element_type_e found_type{};
        if (ov_const_port_get_shape(port, &found) != OK) return false;
        bool is_same = found.rank == wanted.shape.rank && ov_port_get_element_type(port, &found_type) == OK && found_type == type;
        for (std::int64_t axis = 0; is_same && axis < found.rank; ++axis) is_same = found.dims[axis] == wanted.dims[axis];
        ov_shape_free(&found);
        return is_same;
    }

    void bind_input(const EngineRequest& request) {
        Shape shape(request.input_shape);
        ov_element_type_e type = request.is_picture ? U8 : F32;
        OwnedPort port;
        if (ov_compiled_model_input(compiled_.handle, &port.handle) != OK) throw CannotAnswer("the graph has not one input");
        if (!has_form(port.handle, shape, type)) throw CannotAnswer("the graph does not take " + shape.text());
        check(ov_tensor_create_from_host_ptr(type, shape.shape, const_cast<void*>(request.input), &input_.handle), "the input");
        check(ov_infer_request_set_input_tensor(request_.handle, input_.handle), "the input");
    }

    void bind_output(const Output& output, float* buffer) {
        std::vector<std::int64_t> sides{1};
        sides.insert(sides.end(), output.shape.begin(), output.shape.end());
        Shape shape(sides);
        OwnedPort port;
        if (ov_compiled_model_output_by_name(compiled_.handle, output.name.c_str(), &port.handle) != OK)
            throw CannotAnswer("the graph has no output " + quoted(output.name));
        if (!has_form(port.handle, shape, F32)) throw CannotAnswer(quoted(output.name) + " has not the shape " + shape.text());
        OwnedTensor& tensor = outputs_[bound_++];
        check(ov_tensor_create_from_host_ptr(F32, shape.shape, buffer, &tensor.handle), "an output");
        check(ov_infer_request_set_tensor(request_.handle, output.name.c_str(), tensor.handle), "an output");
    }
};

}  // namespace

std::unique_ptr<Engine> make_openvino_engine() { return std::make_unique<OpenVinoEngine>(); }

}  // namespace physedge
