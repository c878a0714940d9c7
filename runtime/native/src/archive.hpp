// The zip archive of a bundle: a walk over the one canonical form, as physedge_runtime/archive.py has it.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace physedge {

// Entry name to its bytes, which lie in the data that was handed in.
using Contents = std::map<std::string, std::string_view>;

inline constexpr unsigned long long largest_bundle_bytes = 2ull << 30;
inline constexpr unsigned long long largest_manifest_bytes = 1ull << 20;
inline constexpr char manifest_entry[] = "manifest.json";
inline constexpr char signature_entry[] = "SIGNATURE";

// Throws Refusal, PE-BUNDLE-002 to 007 and 015. `origin` is the file's name, for messages.
Contents read_archive(std::string_view data, const std::string& origin);

}  // namespace physedge
