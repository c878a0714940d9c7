// The few patterns of the manifest, matched by hand: a general engine of expressions on hostile text is a risk of its own.
#pragma once

#include <string>
#include <string_view>

namespace physedge {

// Whether the whole text matches. Throws std::logic_error for a pattern that is not in the table.
bool matches_pattern(const std::string& pattern, std::string_view text);

bool is_digit(char character);
bool is_lower(char character);
bool is_letter_or_digit(char character);
// 64 digits of 0-9a-f.
bool is_sha256(std::string_view text);

}  // namespace physedge
