#pragma once

#include <string>
#include <string_view>

namespace physedge {

// SHA-256, hexadecimal.
std::string sha256(std::string_view data);

// Whether 32 bytes are a canonical point of prime order: under any other key signatures can be made up.
bool is_sound_public_key(std::string_view public_key);

// Whether `signature` (64 bytes) is Ed25519's of `message` by `public_key` (32 bytes).
bool verify_ed25519(std::string_view public_key, std::string_view message, std::string_view signature);

}  // namespace physedge
