#include "hash.hpp"

#include <sodium.h>

#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

std::string sha256(std::string_view data) {
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, reinterpret_cast<const unsigned char*>(data.data()), data.size());
    return hexadecimal(digest, sizeof digest);
}

bool is_sound_public_key(std::string_view public_key) {
    return public_key.size() == crypto_core_ed25519_BYTES &&
           crypto_core_ed25519_is_valid_point(reinterpret_cast<const unsigned char*>(public_key.data())) == 1;
}

bool verify_ed25519(std::string_view public_key, std::string_view message, std::string_view signature) {
    // May be called any number of times from any thread; without it the library's choice of code is not made.
    if (sodium_init() < 0)
        refuse(PHYSEDGE_ENVIRONMENT, "PE-NATIVE-003", "libsodium cannot start", "a working libsodium", "install it anew");
    if (public_key.size() != crypto_sign_PUBLICKEYBYTES || signature.size() != crypto_sign_BYTES) return false;
    return crypto_sign_verify_detached(reinterpret_cast<const unsigned char*>(signature.data()),
                                       reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                                       reinterpret_cast<const unsigned char*>(public_key.data())) == 0;
}

}  // namespace physedge
