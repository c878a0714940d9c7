#include "patterns.hpp"

#include <algorithm>
#include <stdexcept>

namespace physedge {

bool is_digit(char character) { return character >= '0' && character <= '9'; }

bool is_lower(char character) { return character >= 'a' && character <= 'z'; }

bool is_letter_or_digit(char character) {
    return is_digit(character) || is_lower(character) || (character >= 'A' && character <= 'Z');
}

bool is_sha256(std::string_view text) {
    return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char character) {
               return is_digit(character) || (character >= 'a' && character <= 'f');
           });
}

namespace {

bool is_entry_name(std::string_view text) {
    for (std::string_view folder : {"golden/", "tensorrt/", "calibration/"})
        if (text.substr(0, folder.size()) == folder) {
            text.remove_prefix(folder.size());
            break;
        }
    return !text.empty() && text.size() <= 128 && is_letter_or_digit(text[0]) &&
           std::all_of(text.begin(), text.end(), [](char character) {
               return is_letter_or_digit(character) || character == '.' || character == '_' || character == '-';
           });
}

bool is_model_name(std::string_view text) {
    return !text.empty() && text.size() <= 64 && (is_lower(text[0]) || is_digit(text[0])) &&
           std::all_of(text.begin(), text.end(), [](char character) {
               return is_lower(character) || is_digit(character) || character == '_' || character == '-';
           });
}

bool is_signal_name(std::string_view text) {
    return !text.empty() && text.size() <= 41 && is_lower(text[0]) && std::all_of(text.begin(), text.end(), [](char character) {
        return is_lower(character) || is_digit(character) || character == '_';
    });
}

bool is_output_name(std::string_view text) {
    return !text.empty() && text.size() <= 64 && text[0] != '.' && text[0] != '-' &&
           std::all_of(text.begin(), text.end(), [](char character) {
               return is_letter_or_digit(character) || character == '.' || character == '_' || character == '-';
           });
}

bool is_precision(std::string_view text) { return text == "fp32" || text == "fp16" || text == "int8"; }

struct Row {
    std::string_view pattern;
    bool (*matches)(std::string_view);
};

constexpr Row rows[] = {
    {"^(golden/|tensorrt/|calibration/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", is_entry_name},
    {"^[0-9a-f]{64}$", is_sha256},
    {"^[a-z0-9][a-z0-9_-]{0,63}$", is_model_name},
    {"^(fp32|fp16|int8)$", is_precision},
    {"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$", is_output_name},
    {"^[a-z][a-z0-9_]{0,40}$", is_signal_name},
};

}  // namespace

bool matches_pattern(const std::string& pattern, std::string_view text) {
    for (const Row& row : rows)
        if (row.pattern == pattern) return row.matches(text);
    throw std::logic_error("the manifest's schema has the pattern " + pattern);
}

}  // namespace physedge
