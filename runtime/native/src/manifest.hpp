// What a bundle says of itself, as far as the runtime needs it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "archive.hpp"
#include "credibility.hpp"
#include "physedge.h"
#include "spec.hpp"

namespace physedge {

struct Entry {
    std::string sha256;
    std::uint64_t size_bytes;
};

struct Output {
    std::string name;
    std::string unit;
    std::vector<std::int64_t> shape;  // without the batch axis
    std::size_t floats() const;
};

// What a reduced graph answered to the golden frames at export, on one engine.
struct OwnAnswers {
    std::string engine;
    std::string computed_by;
    std::vector<std::vector<std::pair<std::string, std::string>>> answers;  // for each golden frame: name, entry
    double mean_bound = 0;
    double max_bound = 0;
};

struct Artefact {
    std::string entry;
    std::string precision;
    double golden_mean_bound;
    double golden_max_bound;
    std::optional<OwnAnswers> own;
};

struct GoldenCase {
    std::string frame;
    std::vector<std::int64_t> shape;
    std::vector<std::pair<std::string, std::string>> outputs;  // name, entry
};

struct Manifest {
    std::uint64_t release = 0;
    ModelSpec spec;
    std::vector<Output> outputs;
    std::vector<Artefact> artefacts;
    std::string target;
    std::map<std::string, std::string> shipped;  // engine to entry
    std::vector<GoldenCase> golden;
    std::string verdict;
    std::map<std::string, Entry> entries;
    TrustRecord trust;
};

// Throws Refusal: PE-BUNDLE-007, 008, 009, 014, 016.
Manifest parse_manifest(std::string_view data, const std::string& origin);

// Every entry is listed with its hash and size, and what the manifest names is there. PE-BUNDLE-010, 011, 013.
void check_entries(const Manifest& manifest, const Contents& contents, const std::string& origin);

// Product of a shape; -1 where a side is negative or the product is beyond what any bundle holds.
std::int64_t product(const std::vector<std::int64_t>& shape);

}  // namespace physedge
