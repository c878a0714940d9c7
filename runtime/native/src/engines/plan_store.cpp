#include "engines/plan_store.hpp"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "hash.hpp"
#include "json.hpp"
#include "refusal.hpp"

namespace physedge {

namespace {

constexpr std::size_t largest_plan_bytes = std::size_t{4} << 30, largest_record_bytes = 1 << 20;
constexpr const char* build_it = "build it with: physedge export --build BUNDLE, on this device";

struct Record {
    std::string sha256;
    PlanKey key;
    bool carries_runtime;
};

// Whether "note" of the record says that the option was given: true alone counts.
bool says_version_compatible(const Json& record) {
    const Json* note = record.find("note");
    const Json* options = note != nullptr ? note->find("options") : nullptr;
    const Json* told = options != nullptr ? options->find("version_compatible") : nullptr;
    return told != nullptr && told->is(Json::Kind::boolean) && told->boolean;
}

std::optional<Record> read_record(const std::string& path) {
    std::optional<std::string> text = read_private_file<std::string>(path, largest_record_bytes);
    if (!text) return std::nullopt;
    try {
        Json json = parse_json(*text);
        const Json *sha = json.find("sha256"), *key = json.find("key");
        if (sha == nullptr || key == nullptr || !sha->is(Json::Kind::string) || !key->is(Json::Kind::object)) return std::nullopt;
        Record record{sha->text, {}, says_version_compatible(json)};
        for (const auto& [name, value] : key->members) record.key[name] = value.text;
        return record;
    } catch (const JsonError&) {
        return std::nullopt;
    }
}

std::string words(const PlanKey& key) {
    std::string driver = key.at("driver").empty() ? "" : ", driver " + key.at("driver");
    return key.at("device") + " " + key.at("architecture") + ", " + key.at("builder") + " " + key.at("version") + driver;
}

// 10.3.0 and 10.3.0.26 as numbers, so that 10.10 is later than 10.9.
std::vector<long> numbers(const std::string& version) {
    std::vector<long> parts;
    for (const char* at = version.c_str(); *at != '\0';) {
        char* end = nullptr;
        parts.push_back(std::strtol(at, &end, 10));
        if (end == at) return {};
        at = *end == '.' ? end + 1 : end;
    }
    return parts;
}

// The key of an engine that an earlier version of the library built so that later ones run it, too; the latest of them.
std::optional<PlanKey> earlier_key(const std::string& folder, const PlanKey& key) {
    std::optional<PlanKey> latest;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
        std::optional<Record> record = entry.path().extension() == ".json" ? read_record(entry.path()) : std::nullopt;
        if (!record || !record->carries_runtime || record->key.count("version") == 0) continue;
        PlanKey same = record->key;
        same["version"] = key.at("version");
        std::vector<long> built_by = numbers(record->key.at("version"));
        bool is_earlier = !built_by.empty() && built_by < numbers(key.at("version"));
        if (same == key && is_earlier && (!latest || numbers(latest->at("version")) < built_by)) latest = record->key;
    }
    return latest;
}

// What the nearest engine of the folder was built for.
std::string explain_miss(const std::string& folder, const PlanKey& key) {
    std::size_t fewest = SIZE_MAX;
    std::string nearest;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
        std::optional<Record> record = entry.path().extension() == ".json" ? read_record(entry.path()) : std::nullopt;
        if (!record) continue;
        std::size_t different = 0;
        std::string differences;
        for (const auto& [name, value] : key) {
            const std::string& other = record->key[name];
            if (other == value) continue;
            if (++different <= 2) differences += (different == 1 ? "" : ", ") + name + " was " + other.substr(0, 64) + ", is " + value.substr(0, 64);
        }
        if (different < fewest) fewest = different, nearest = differences;
    }
    return nearest.empty() ? "no engine was built on this device yet" : "the nearest was built for something else: " + nearest;
}

}  // namespace

Plan load_plan(const std::string& cache_folder, const std::vector<PlanKey>& keys) {
    if (cache_folder.empty())
        refuse(PHYSEDGE_ENVIRONMENT, "PE-TRT-010", "no engine cache was named", "the folder of the engines that were built on this device",
               "name it in cache_folder");
    const std::string folder = cache_folder + "/engines";
    require_private(folder);
    auto find = [&](const PlanKey& key) -> std::optional<Plan> {
        const std::string path = folder + "/" + plan_digest(key) + ".engine";
        std::optional<std::vector<char>> plan = read_private_file<std::vector<char>>(path, largest_plan_bytes);
        if (!plan) return std::nullopt;
        std::optional<Record> record = read_record(folder + "/" + plan_digest(key) + ".json");
        if (record && record->key == key && record->sha256 == sha256({plan->data(), plan->size()})) return Plan{std::move(*plan), record->carries_runtime};
        refuse(PHYSEDGE_INTEGRITY, "PE-TRT-011", "the engine " + path + " is not the one that was built here",
               "the bytes whose hash was kept beside it", "remove it and " + std::string(build_it));
    };
    for (const PlanKey& key : keys)
        if (std::optional<Plan> plan = find(key)) return std::move(*plan);
    if (std::optional<PlanKey> earlier = earlier_key(folder, keys.back()))
        if (std::optional<Plan> plan = find(*earlier)) return std::move(*plan);
    refuse(PHYSEDGE_ENVIRONMENT, "PE-TRT-012", "no engine for " + words(keys[0]) + ": " + explain_miss(folder, keys[0]),
           "an engine that was built on this device", build_it);
}

}  // namespace physedge
