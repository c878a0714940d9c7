// Small text: copies into fixed arrays, and bytes shown in messages.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace physedge {

// Copy what fits and end it with a zero byte; a character of UTF-8 is never cut in two.
inline void copy_text(char* target, std::size_t size, std::string_view text) noexcept {
    std::size_t bytes = text.size() < size ? text.size() : size - 1;
    if (bytes < text.size())
        while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
    std::memcpy(target, text.data(), bytes);
    target[bytes] = '\0';
}

template <std::size_t Size>
void copy_text(char (&target)[Size], std::string_view text) noexcept {
    copy_text(target, Size, text);
}

// The bytes in quotes; what is not plain ASCII as \xNN.
inline std::string quoted(std::string_view text) {
    std::string shown = "'";
    for (unsigned char byte : text.substr(0, 120)) {
        if (byte >= 0x20 && byte < 0x7F) {
            shown += static_cast<char>(byte);
        } else {
            char escaped[5];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
            shown += escaped;
        }
    }
    return shown + "'";
}

inline std::string hexadecimal(const unsigned char* bytes, std::size_t count) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * count);
    for (std::size_t index = 0; index < count; ++index) {
        text += digits[bytes[index] >> 4];
        text += digits[bytes[index] & 15];
    }
    return text;
}

}  // namespace physedge
