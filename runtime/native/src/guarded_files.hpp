// Reading what decides whom a device believes: a file that only its owner, or the administrator, can have changed.
// runtime/physedge_runtime/guarded_files.py does the same and says why.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace physedge {

// The bytes of a plain file that nobody else can change; nothing where it is longer than it may be. Throws Refusal
// where somebody else may change it, or a folder or a link on the way to it (PE-SIGN-004), and std::system_error where
// it cannot be read.
std::optional<std::string> read_guarded(const std::string& path, std::size_t largest_bytes);

// Whether something has this name: a file, a folder, a link to nowhere, or what may not be looked at.
bool is_there(const std::string& path);

std::string folder_of(const std::string& path);

}  // namespace physedge
