#pragma once

#include <string>
#include <string_view>

namespace physedge {

// SHA-256, hexadecimal.
std::string sha256(std::string_view data);

// Whether `signature` (64 bytes) is Ed25519's of `message` by `public_key` (32 bytes).
bool verify_ed25519(std::string_view public_key, std::string_view message, std::string_view signature);

}  // namespace physedge
