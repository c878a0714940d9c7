#include "manifest.hpp"

#include <algorithm>
#include <set>

#include "hash.hpp"
#include "refusal.hpp"
#include "rules.hpp"
#include "schema.hpp"
#include "text.hpp"

namespace physedge {

#include "manifest_rules.inc"
#include "manifest_schema.inc"

namespace {

// More values than a bundle could hold as bytes.
constexpr std::int64_t most_values = std::int64_t{1} << 40;

[[noreturn]] void broken(const std::string& origin, const std::string& detail) {
    refuse_bundle("PE-BUNDLE-008", "the manifest of " + origin + " cannot be used (" + detail + ")",
                  "a manifest as docs/bundle.md specifies it");
}

void check_schema_version(const Json& content, const std::string& origin) {
    const Json* version = content.find("schema_version");
    if (version == nullptr || !version->is(Json::Kind::integer)) return;
    std::string found = origin + " has manifest schema " + version->text.substr(0, 20);
    if (version->integer() < oldest_schema_version)
        refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-014", found,
               "schema " + std::to_string(oldest_schema_version) + " or newer; older ones lack checks that count today",
               "ask its maker for a bundle of this generation");
    if (version->integer() > newest_schema_version)
        refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-009", found, "schema " + std::to_string(newest_schema_version) + " or older",
               "update physedge on this machine");
}

std::vector<std::int64_t> integers(const Json& list) {
    std::vector<std::int64_t> values;
    for (const Json& item : list.items) values.push_back(item.integer());
    return values;
}

std::vector<std::pair<std::string, std::string>> named_entries(const Json& object) {
    std::vector<std::pair<std::string, std::string>> entries;
    for (const auto& [name, entry] : object.members) entries.emplace_back(name, entry.text);
    return entries;
}

std::optional<OwnAnswers> own_answers(const Json& artefact) {
    const Json* own = artefact.find("own");
    if (own == nullptr) return std::nullopt;
    OwnAnswers known{own->at("engine").text, own->at("computed_by").text, {}, own->at("mean_bound").number(), own->at("max_bound").number()};
    for (const Json& one : own->at("answers").items) known.answers.push_back(named_entries(one));
    return known;
}

// What the parts of a manifest must agree on, as Python asks it: the innermost first.
std::string disagreement(const Json& whole) {
    static const Json rules = parse_json(manifest_rules);
    const Json& spec = whole.at("spec");
    if (const Json& growth = spec.at("growth"); growth.is(Json::Kind::object))
        if (std::string fault = broken_rule(rules.at("growth"), growth); !fault.empty()) return "spec.growth: " + fault;
    if (std::string fault = broken_rule(rules.at("spec"), spec); !fault.empty()) return "spec: " + fault;
    return broken_rule(rules.at("manifest"), whole);
}

Manifest manifest_from_json(const Json& json) {
    Manifest manifest;
    manifest.release = static_cast<std::uint64_t>(json.at("release").integer());
    manifest.spec = spec_from_json(json.at("spec"));
    for (const Json& one : json.at("outputs").items)
        manifest.outputs.push_back({one.at("name").text, one.at("unit").text, integers(one.at("shape"))});
    for (const Json& one : json.at("artefacts").items)
        manifest.artefacts.push_back({one.at("entry").text, one.at("precision").text,
                                      one.at("golden_mean_bound").number(), one.at("golden_max_bound").number(), own_answers(one)});
    manifest.target = json.at("target").text;
    for (const auto& [engine, entry] : json.at("shipped").members) manifest.shipped[engine] = entry.text;
    for (const Json& one : json.at("golden").items)
        manifest.golden.push_back({one.at("frame").text, integers(one.at("shape")), named_entries(one.at("outputs"))});
    manifest.verdict = json.at("verdict").text;
    for (const auto& [name, entry] : json.at("entries").members)
        manifest.entries[name] = {entry.at("sha256").text, static_cast<std::uint64_t>(entry.at("size_bytes").integer())};
    manifest.trust = trust_record_from_json(json.at("trust"));
    return manifest;
}

void check_golden(const Manifest& manifest, const std::string& origin) {
    std::int64_t item_bytes = manifest.spec.frame ? 1 : 4;
    auto fits = [&](const std::string& entry, std::int64_t bytes) {
        return bytes >= 0 && manifest.entries.at(entry).size_bytes == static_cast<std::uint64_t>(bytes);
    };
    // The first entry of another size, or the frame's where an output has no answer; empty where all fit.
    auto odd_answer = [&](const std::string& frame, const std::vector<std::pair<std::string, std::string>>& answers) -> std::string {
        std::set<std::string> answered;
        for (const auto& [name, entry] : answers) {
            auto output = std::find_if(manifest.outputs.begin(), manifest.outputs.end(),
                                       [&name = name](const Output& one) { return one.name == name; });
            std::int64_t floats = output == manifest.outputs.end() ? -1 : product(output->shape);
            if (floats < 0 || !fits(entry, 4 * floats)) return entry;
            answered.insert(name);
        }
        bool is_complete = std::all_of(manifest.outputs.begin(), manifest.outputs.end(),
                                       [&](const Output& one) { return answered.count(one.name) == 1; });
        return is_complete ? "" : frame;
    };
    auto demand = [&](const std::string& odd) {
        if (!odd.empty()) refuse_bundle("PE-BUNDLE-013", origin + ": the golden entry " + quoted(odd) + " does not fit", "its declared shape");
    };
    for (const GoldenCase& golden : manifest.golden) {
        std::int64_t values = product(golden.shape);
        bool is_positive = !golden.shape.empty() &&
                           std::all_of(golden.shape.begin(), golden.shape.end(), [](std::int64_t side) { return side >= 1; });
        if (values < 0 || !is_positive || !fits(golden.frame, values * item_bytes)) demand(golden.frame);
        demand(odd_answer(golden.frame, golden.outputs));
    }
    for (const Artefact& artefact : manifest.artefacts) {
        if (!artefact.own) continue;
        const std::size_t answers = artefact.own->answers.size();
        if (answers != manifest.golden.size())
            refuse_bundle("PE-BUNDLE-013", origin + ": " + std::to_string(answers) + " own answers to " +
                                               std::to_string(manifest.golden.size()) + " golden frames", "one each");
        for (std::size_t index = 0; index < answers; ++index) demand(odd_answer(manifest.golden[index].frame, artefact.own->answers[index]));
    }
}

}  // namespace

std::int64_t product(const std::vector<std::int64_t>& shape) {
    std::int64_t values = 1;
    for (std::int64_t side : shape) {
        if (side < 0 || (side > 0 && values > most_values / side)) return -1;
        values *= side;
    }
    return values;
}

std::size_t Output::floats() const { return static_cast<std::size_t>(std::max<std::int64_t>(product(shape), 0)); }

Manifest parse_manifest(std::string_view data, const std::string& origin) {
    Json content;
    try {
        content = parse_json(data);
    } catch (const JsonError& error) {
        broken(origin, error.what());
    }
    if (!content.is(Json::Kind::object)) broken(origin, "no JSON object");
    check_schema_version(content, origin);
    static const Json schema = understood_schema(manifest_schema);
    Judgement judgement = judge_by_schema(content, schema);
    if (judgement.fit == Fit::wrong) broken(origin, judgement.path + " " + judgement.why);
    if (std::string fault = disagreement(with_defaults(content, schema)); !fault.empty()) broken(origin, fault);
    if (judgement.fit == Fit::older && canonical_json(content) == data)
        refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-016",
               origin + " was written by an older physedge (" + content.at("physedge_version").text.substr(0, 40) +
                   "): its manifest has no " + judgement.path,
               "all that physedge writes today", "export the network again, or use the physedge that wrote it");
    if (judgement.fit != Fit::exact || canonical_json(content) != data)
        refuse_bundle("PE-BUNDLE-007", "the manifest of " + origin + " is not in canonical form",
                      "the bytes that physedge writes");
    return manifest_from_json(content);
}

void check_entries(const Manifest& manifest, const Contents& contents, const std::string& origin) {
    for (const auto& [name, data] : contents) {
        (void)data;
        if (name != manifest_entry && name != signature_entry && manifest.entries.count(name) == 0)
            refuse_bundle("PE-BUNDLE-011", origin + ": the entry " + quoted(name) + " is not both listed and there", "both");
    }
    for (const auto& [name, entry] : manifest.entries) {
        (void)entry;
        if (contents.count(name) == 0 || name == manifest_entry || name == signature_entry)
            refuse_bundle("PE-BUNDLE-011", origin + ": the entry " + quoted(name) + " is not both listed and there", "both");
    }
    for (const auto& [name, entry] : manifest.entries) {
        std::string_view data = contents.at(name);
        if (data.size() != entry.size_bytes || sha256(data) != entry.sha256)
            refuse_bundle("PE-BUNDLE-010", "the entry " + quoted(name) + " of " + origin + " has another hash",
                          "that of the manifest");
    }
    std::set<std::string> named;
    for (const Artefact& artefact : manifest.artefacts) named.insert(artefact.entry);
    for (const auto& [engine, entry] : manifest.shipped) {
        (void)engine;
        named.insert(entry);
    }
    auto name_all = [&named](const std::vector<std::pair<std::string, std::string>>& answers) {
        for (const auto& answer : answers) named.insert(answer.second);
    };
    for (const GoldenCase& golden : manifest.golden) {
        named.insert(golden.frame);
        name_all(golden.outputs);
    }
    for (const Artefact& artefact : manifest.artefacts)
        if (artefact.own)
            for (const auto& answers : artefact.own->answers) name_all(answers);
    for (const std::string& name : named)
        if (manifest.entries.count(name) == 0)
            refuse_bundle("PE-BUNDLE-011", origin + ": the manifest names " + quoted(name), "an entry of the bundle");
    check_golden(manifest, origin);
}

}  // namespace physedge
