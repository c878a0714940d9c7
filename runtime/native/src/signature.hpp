// The entry SIGNATURE: who vouches for a manifest, and with it for every byte of the bundle.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "trust.hpp"

namespace physedge {

// Decide who vouches, before anything reads the manifest: "unsigned", "signature not checked", "signed by NAME (KEY)".
// Throws Refusal, PE-SIGN-005 to 010.
std::string check_signature(std::string_view manifest, std::optional<std::string_view> signature,
                            const TrustStore& trust, const std::string& origin);

}  // namespace physedge
