// The table of engines: a new one is one file, one option of CMakeLists.txt, and two lines here.
#include <cstring>

#include "engines/engine.hpp"

namespace physedge {

#ifdef PHYSEDGE_WITH_OPENVINO
std::unique_ptr<Engine> make_openvino_engine();
#endif
#ifdef PHYSEDGE_WITH_ONNXRUNTIME
std::unique_ptr<Engine> make_onnxruntime_engine();
#endif
#ifdef PHYSEDGE_WITH_TENSORRT
std::unique_ptr<Engine> make_tensorrt_engine();
#endif
std::unique_ptr<Engine> make_fake_engine();

namespace {

constexpr EngineEntry table[] = {
#ifdef PHYSEDGE_WITH_OPENVINO
    {"openvino", make_openvino_engine},
#endif
#ifdef PHYSEDGE_WITH_ONNXRUNTIME
    {"onnxruntime", make_onnxruntime_engine},
#endif
#ifdef PHYSEDGE_WITH_TENSORRT
    {"tensorrt", make_tensorrt_engine},
#endif
    {"fake", make_fake_engine},
    {nullptr, nullptr},
};

}  // namespace

const EngineEntry* engine_table() { return table; }

const EngineEntry* find_engine(std::string_view name) {
    for (const EngineEntry* entry = table; entry->name != nullptr; ++entry)
        if (name == entry->name) return entry;
    return nullptr;
}

}  // namespace physedge
