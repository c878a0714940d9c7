#include "choice.hpp"

#include <algorithm>
#include <cstring>

#include "engines/engine.hpp"
#include "refusal.hpp"

namespace physedge {

namespace {

// Whether a graph of a bundle is meant for an engine.
bool runs_on(const std::string& entry, const std::string& engine) {
    static constexpr std::string_view suffix = ".ovir";
    if (entry.size() > suffix.size() && std::string_view(entry).substr(entry.size() - suffix.size()) == suffix)
        return engine == "openvino";
    return engine == "tensorrt" || (entry != "model.fp16.onnx" && entry != "model.int8-gpu.onnx");
}

}  // namespace

std::string choose_engine(const Manifest& manifest) {
    // A bundle never chooses the stand-in, whatever it says; whoever opens it may.
    auto is_here = [](const std::string& name) { return name != "fake" && find_engine(name) != nullptr; };
    if (is_here(manifest.target)) return manifest.target;
    for (const auto& [engine, entry] : manifest.shipped) {
        (void)entry;
        if (is_here(engine)) return engine;
    }
    const EngineEntry* first = engine_table();
    if (std::strcmp(first->name, "fake") != 0) return first->name;
    refuse(PHYSEDGE_ENVIRONMENT, "PE-ENV-001", "no engine was compiled into this library", "openvino, onnxruntime or tensorrt",
           "build it with PHYSEDGE_OPENVINO, PHYSEDGE_ONNXRUNTIME or PHYSEDGE_TENSORRT, or name the engine 'fake'");
}

const Artefact& choose_artefact(const Manifest& manifest, const std::string& engine, const std::string& precision) {
    auto shipped = manifest.shipped.find(engine);
    auto is_for = [&](const Artefact& artefact) {
        return artefact.precision == precision && runs_on(artefact.entry, engine);
    };
    if (precision.empty()) {
        const std::string& entry = shipped != manifest.shipped.end() ? shipped->second : manifest.artefacts[0].entry;
        for (const Artefact& artefact : manifest.artefacts)
            if (artefact.entry == entry) return artefact;
        refuse_bundle("PE-BUNDLE-011", "the graph " + entry + " that ships for " + engine + " is not described", "a record of it");
    }
    const Artefact* fitting = nullptr;
    for (const Artefact& artefact : manifest.artefacts)
        if (is_for(artefact)) {
            if (shipped != manifest.shipped.end() && artefact.entry == shipped->second) return artefact;
            if (fitting == nullptr) fitting = &artefact;
        }
    if (fitting != nullptr) return *fitting;
    refuse(PHYSEDGE_USAGE, "PE-ENGINE-003", "no " + precision + " graph for " + engine + " in the bundle",
           "a precision that the bundle has", "choose another precision, or export it with --calib for int8");
}

}  // namespace physedge
