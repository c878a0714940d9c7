// Fuzzes what lies behind the hashes: every mutant is a whole bundle whose hashes, sizes and canonical form were repaired.
//
//     physedge_fuzz_repaired -max_total_time=60 CORPUS        (docs/firmware.md)
//
// An input is a bundle. The mutator takes it apart, changes the manifest as JSON or a graph as bytes, and packs it again.
#include <physedge.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "archive.hpp"
#include "hash.hpp"
#include "json.hpp"
#include "refusal.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using namespace physedge;
using Entries = std::map<std::string, std::string>;
using Kind = Json::Kind;

constexpr std::size_t most_repaired_bytes = 1 << 16;

void put(std::string& out, std::uint64_t value, int bytes) {
    for (int index = 0; index < bytes; ++index) out += static_cast<char>(value >> (8 * index) & 255);
}

// The one zip form. Written here by itself, so that the reader is not held against its own parts.
std::string packed(const Entries& entries) {
    std::string out, directory;
    for (const auto& [name, data] : entries) {
        std::string shared;
        for (int field : {20, 0, 0, 0, 33}) put(shared, static_cast<std::uint64_t>(field), 2);
        put(shared, crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), data.size()), 4);
        put(shared, data.size(), 4);
        put(shared, data.size(), 4);
        put(shared, name.size(), 2);
        put(shared, 0, 2);
        put(directory, 0x02014b50, 4);
        put(directory, 20 | 3 << 8, 2);
        directory += shared;
        put(directory, 0, 6);
        put(directory, 0100644u << 16, 4);
        put(directory, out.size(), 4);
        directory += name;
        put(out, 0x04034b50, 4);
        out += shared + name + data;
    }
    std::size_t start = out.size(), size = directory.size();
    out += directory;
    put(out, 0x06054b50, 4);
    put(out, 0, 4);
    put(out, entries.size(), 2);
    put(out, entries.size(), 2);
    put(out, size, 4);
    put(out, start, 4);
    put(out, 0, 2);
    return out;
}

Json number(double value, bool whole) {
    Json json;
    json.kind = whole ? Kind::integer : Kind::floating;
    json.floating = value;
    if (whole) json.text = std::to_string(static_cast<std::int64_t>(value));
    return json;
}

Json text(std::string value) {
    Json json;
    json.kind = Kind::string;
    json.text = std::move(value);
    return json;
}

class Mutator {
public:
    explicit Mutator(unsigned seed) : random_(seed) {}

    void change(Json& root) {
        std::vector<Json*> nodes;
        collect(root, nodes);
        Json& node = *nodes[below(nodes.size())];
        switch (below(6)) {
            case 0: remove_or_double(node); break;
            case 1: nudge(node); break;
            case 2: {
                Json copy = *nodes[below(nodes.size())];  // first, as it may hold the node
                if (canonical_json(copy).size() < 4096) node = std::move(copy);
                break;
            }
            case 3: scramble(node); break;
            default: node = something(); break;
        }
    }

    std::size_t below(std::size_t end) { return random_() % end; }

private:
    std::minstd_rand random_;

    static void collect(Json& node, std::vector<Json*>& nodes) {
        nodes.push_back(&node);
        for (Json& item : node.items) collect(item, nodes);
        for (auto& [name, member] : node.members) {
            (void)name;
            collect(member, nodes);
        }
    }

    void remove_or_double(Json& node) {
        if (!node.items.empty()) {
            auto at = node.items.begin() + static_cast<std::ptrdiff_t>(below(node.items.size()));
            if (below(2) == 0) {
                node.items.erase(at);
            } else {
                Json copy = *at;
                node.items.insert(at, below(8) == 0 ? 64 : 1, copy);
            }
        } else if (!node.members.empty()) {
            auto at = std::next(node.members.begin(), static_cast<std::ptrdiff_t>(below(node.members.size())));
            if (below(2) == 0)
                node.members.erase(at);
            else
                node.members[something_said()] = Json(at->second);
        }
    }

    void nudge(Json& node) {
        if (node.is(Kind::integer)) {
            std::int64_t steps[] = {1, -1, 2, node.integer() / 2, -node.integer() / 2};
            double value = static_cast<double>(node.integer()) + static_cast<double>(steps[below(5)]);
            if (std::fabs(value) < 9e18) node = number(value, true);
        } else if (node.is(Kind::floating)) {
            double value = node.floating * (below(2) == 0 ? -1 : 1e6);
            if (std::isfinite(value)) node.floating = value;
        } else if (node.is(Kind::boolean)) {
            node.boolean = !node.boolean;
        }
    }

    void scramble(Json& node) {
        if (!node.is(Kind::string)) return;
        std::vector<std::uint8_t> bytes(node.text.begin(), node.text.end());
        bytes.resize(bytes.size() + 16);
        bytes.resize(LLVMFuzzerMutate(bytes.data(), node.text.size(), bytes.size()));
        node.text.assign(bytes.begin(), bytes.end());
        for (char& character : node.text) character &= 0x7F;  // what is not UTF-8 has no canonical form
    }

    Json something() {
        static constexpr double numbers[] = {0, 1, 2, 3, 5, 8, 64, 65, 4096, 4097, 65536, 65537, 268435456, 268435457,
                                             4294967301.0, 9007199254740991.0, 9007199254740992.0, -1, -2147483648.0};
        static constexpr double fractions[] = {0.0, -0.0, 0.5, 1.0, -1.0, 5e-324, 1e6, 1e12, 1e15, 1e300};
        switch (below(5)) {
            case 0: return number(numbers[below(std::size(numbers))], true);
            case 1: return number(fractions[below(std::size(fractions))], false);
            case 2: return text(something_said());
            default: {
                Json json;
                static constexpr Kind kinds[] = {Kind::null, Kind::boolean, Kind::array, Kind::object};
                json.kind = kinds[below(4)];
                return json;
            }
        }
    }

    std::string something_said() {
        static constexpr const char* words[] = {
            "", "fake", "onnxruntime", "openvino", "tensorrt", "probability", "image", "trust_x", "trust_input", "model.onnx",
            "model.fp16.onnx", "x.ovir", "../x", "ACCEPT", "REJECT", "segmentation", "classification", "reconstruction", "grey",
            "letterbox", "frozen", "fp32", "int8", "brightness", "golden/0.frame", "spec", "own", "crop", "input"};
        return words[below(std::size(words))];
    }
};

std::optional<std::size_t> values_of(const Json& shape) {
    std::size_t values = 1;
    for (const Json& side : shape.items) {
        if (!side.is(Kind::integer) || side.integer() < 0 || side.integer() > static_cast<std::int64_t>(most_repaired_bytes)) return std::nullopt;
        values *= static_cast<std::size_t>(side.integer());
        if (values > most_repaired_bytes) return std::nullopt;
    }
    return values;
}

void resize(Entries& entries, const Json* name, std::optional<std::size_t> bytes) {
    auto found = name != nullptr ? entries.find(name->text) : entries.end();
    if (found != entries.end() && bytes && *bytes <= most_repaired_bytes && found->first.substr(0, 7) == "golden/") found->second.resize(*bytes);
}

// Golden entries get the size that the manifest asks for, and every entry its hash.
void repair(Json& manifest, Entries& entries) {
    static const Json nothing;
    auto member = [](const Json& json, const char* name) -> const Json& {
        const Json* found = json.find(name);
        return found != nullptr ? *found : nothing;
    };
    std::map<std::string, std::optional<std::size_t>> sizes;
    for (const Json& output : member(manifest, "outputs").items)
        if (auto values = values_of(member(output, "shape"))) sizes[member(output, "name").text] = 4 * *values;
    std::size_t item_bytes = member(member(manifest, "spec"), "frame").is(Kind::object) ? 1 : 4;
    for (const Json& golden : member(manifest, "golden").items) {
        if (auto values = values_of(member(golden, "shape"))) resize(entries, golden.find("frame"), item_bytes * *values);
        for (const auto& [name, entry] : member(golden, "outputs").members) resize(entries, &entry, sizes[name]);
    }
    auto listed = manifest.members.find("entries");
    if (listed == manifest.members.end()) return;
    for (auto& [name, entry] : listed->second.members) {
        auto data = entries.find(name);
        if (data == entries.end() || !entry.is(Kind::object)) continue;
        entry.members["sha256"] = text(sha256(data->second));
        entry.members["size_bytes"] = number(static_cast<double>(data->second.size()), true);
    }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size, std::size_t max_size, unsigned seed) {
    std::string_view data(reinterpret_cast<const char*>(bytes), size);
    try {
        Entries entries;
        for (const auto& [name, content] : read_archive(data, "mutant")) entries[name] = std::string(content);
        Json manifest = parse_json(entries[manifest_entry]);
        Mutator mutator(seed);
        auto graph = entries.find("model.onnx");
        if (graph != entries.end() && mutator.below(4) == 0) {
            std::vector<std::uint8_t> changed(graph->second.begin(), graph->second.end());
            changed.resize(changed.size() + 64);
            changed.resize(LLVMFuzzerMutate(changed.data(), graph->second.size(), changed.size()));
            graph->second.assign(changed.begin(), changed.end());
        } else {
            for (std::size_t left = 1 + mutator.below(3); left > 0; --left) mutator.change(manifest);
        }
        if (mutator.below(8) != 0) repair(manifest, entries);
        entries[manifest_entry] = canonical_json(manifest);
        std::string made = packed(entries);
        if (made.size() <= max_size) {
            std::memcpy(bytes, made.data(), made.size());
            return made.size();
        }
    } catch (const Refusal&) {  // an input that is no bundle, which libFuzzer begins with
    } catch (const JsonError&) {
    }
    return LLVMFuzzerMutate(bytes, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const physedge_trust* anybody = [] {
        physedge_trust* trust = nullptr;
        physedge_trust_create(&trust, nullptr);
        return trust;
    }();
    physedge_bundle* bundle = nullptr;
    physedge_net* net = nullptr;
    if (physedge_bundle_read_memory(bytes, size, "mutant", anybody, &bundle, nullptr) != PHYSEDGE_OK) return 0;
    physedge_open_options options = physedge_open_defaults();
    options.engine = "fake";
    options.allow_rejected = 1;
    options.largest_width_px = options.largest_height_px = 64;
    if (physedge_net_open(bundle, &options, &net, nullptr) == PHYSEDGE_OK) {
        static physedge_net_info info;
        physedge_net_describe(net, &info);
        static const std::uint8_t pixels[20 * 30 * 3] = {};
        std::vector<float> voltages(std::size_t{info.voltages} * info.voltage_frames);
        std::vector<std::uint8_t> mask(info.mask_bytes);
        physedge_frame frame{};
        frame.width_px = info.voltages != 0 ? 0 : 30;
        frame.height_px = info.voltages != 0 ? (info.voltage_frames == 2 ? 2 : 0) : 20;
        frame.format = info.voltages != 0 ? PHYSEDGE_VOLTAGES : PHYSEDGE_RGB;
        frame.pixels = pixels;
        frame.voltages = voltages.data();
        frame.voltage_count = voltages.size();
        static physedge_result result;
        result = physedge_result{};
        result.mask = mask.empty() ? nullptr : mask.data();
        result.mask_bytes = mask.size();
        physedge_net_infer(net, &frame, &result, nullptr);
        physedge_net_free(net);
    }
    physedge_bundle_free(bundle);
    return 0;
}
