// Fuzzes whatever a bundle brings in: the archive, the manifest, the signature, the graphs.
//
//     physedge_fuzz_bundle -max_total_time=60 CORPUS        (docs/firmware.md)
//
// The first byte says what the rest is, so that each parser is reached without the hashes in front of it.
#include <physedge.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "archive.hpp"
#include "graph_check.hpp"
#include "json.hpp"
#include "manifest.hpp"
#include "refusal.hpp"
#include "signature.hpp"

namespace {

using namespace physedge;

void open_all_the_way(std::string_view data) {
    static const physedge_trust* anybody = [] {
        physedge_trust* made = nullptr;
        physedge_trust_create(&made, nullptr);
        return made;
    }();
    physedge_bundle* bundle = nullptr;
    physedge_net* net = nullptr;
    physedge_open_options options = physedge_open_defaults();
    options.engine = "fake";
    options.largest_width_px = options.largest_height_px = 64;
    if (physedge_bundle_read_memory(data.data(), data.size(), "fuzzed", anybody, &bundle, nullptr) != PHYSEDGE_OK) return;
    if (physedge_net_open(bundle, &options, &net, nullptr) == PHYSEDGE_OK) {
        static const std::uint8_t pixels[20 * 30 * 3] = {};
        physedge_frame frame{};
        frame.width_px = 30;
        frame.height_px = 20;
        frame.pixels = pixels;
        physedge_result result{};
        physedge_net_infer(net, &frame, &result, nullptr);
        physedge_net_free(net);
    }
    physedge_bundle_free(bundle);
}

void read_manifest(std::string_view data) {
    Manifest manifest = parse_manifest(data, "fuzzed");
    (void)manifest;
    // What was taken is canonical: read and written again it is the same.
    if (canonical_json(parse_json(data)) != data) std::abort();
}

void read_signature(std::string_view data) {
    static const TrustStore maker = [] {
        TrustStore store;
        store.add_key("maker", std::string(32, 'k'), std::nullopt);
        return store;
    }();
    check_signature("manifest", data, maker, "fuzzed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    std::string_view data(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    try {
        switch (bytes[0] % 5) {
            case 0: open_all_the_way(data); break;
            case 1: read_archive(data, "fuzzed"); break;
            case 2: read_manifest(data); break;
            case 3: check_graph(data, "fuzzed"); break;
            case 4: read_signature(data); break;
        }
    } catch (const Refusal&) {
    }
    return 0;
}
