// A bundle that was read and whose every byte agrees with its manifest.
#pragma once

#include <string>
#include <string_view>

#include "archive.hpp"
#include "manifest.hpp"
#include "trust.hpp"

struct physedge_bundle {
    std::string owned;  // the file's bytes, where they were read from a file
    std::string name;   // of the file
    std::string sha256;
    std::string manifest_sha256;
    std::string trust;
    std::string root;        // where the device's bundles are installed; "" without a configuration
    bool may_be_rejected = true;  // whether the device's configuration allows a bundle that was not accepted
    physedge::Manifest manifest;
    physedge::Contents contents;
};

namespace physedge {

// Fill a bundle in from data that outlives it; nothing is believed before it was checked. Throws Refusal.
void read_bundle(physedge_bundle& bundle, std::string_view data, std::string name, const TrustStore& trust);

// The bytes of a plain file. Throws Refusal: PE-BUNDLE-001, 003.
std::string read_bundle_file(const std::string& path);

std::string file_name(const std::string& path);

}  // namespace physedge
