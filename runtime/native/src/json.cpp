#include "json.hpp"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

namespace physedge {

namespace {

// As physedge_runtime/json_text.py has them.
constexpr std::size_t most_levels = 64;

// Receives the events of nlohmann's parser. It keeps integers as text, since they may exceed a machine word.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
public:
    explicit Builder(std::size_t most_values) : most_values_(most_values) {}

    Json root;
    std::string failure;

    bool null() override { return add({}); }
    bool boolean(bool value) override {
        Json json;
        json.kind = Json::Kind::boolean;
        json.boolean = value;
        return add(std::move(json));
    }
    bool number_integer(number_integer_t value) override { return add_integer(std::to_string(value)); }
    bool number_unsigned(number_unsigned_t value) override { return add_integer(std::to_string(value)); }
    bool number_float(number_float_t value, const string_t& digits) override {
        if (digits.find_first_of(".eE") == string_t::npos) return fail("an integer beyond 64 bits");
        Json json;
        json.kind = Json::Kind::floating;
        json.floating = value;
        return add(std::move(json));
    }
    bool string(string_t& value) override {
        Json json;
        json.kind = Json::Kind::string;
        json.text = std::move(value);
        return add(std::move(json));
    }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(Json::Kind::object); }
    bool key(string_t& value) override {
        keys_.back() = std::move(value);
        return true;
    }
    bool end_object() override { return close(); }
    bool start_array(std::size_t) override { return open(Json::Kind::array); }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        return fail("byte " + std::to_string(position) + " is not as JSON has it");
    }

private:
    std::vector<Json> open_;
    std::vector<std::string> keys_;
    std::size_t values_ = 0, most_values_;

    bool fail(std::string why) {
        if (failure.empty()) failure = std::move(why);
        return false;
    }
    bool add_integer(std::string digits) {
        Json json;
        json.kind = Json::Kind::integer;
        json.text = digits == "-0" ? "0" : std::move(digits);
        return add(std::move(json));
    }
    bool open(Json::Kind kind) {
        if (open_.size() >= most_levels) return fail("more than 64 levels");
        open_.emplace_back();
        open_.back().kind = kind;
        keys_.emplace_back();
        return true;
    }
    bool close() {
        Json done = std::move(open_.back());
        open_.pop_back();
        keys_.pop_back();
        return add(std::move(done));
    }
    bool add(Json json) {
        if (++values_ > most_values_) return fail("more than " + std::to_string(most_values_) + " values");
        if (open_.empty())
            root = std::move(json);
        else if (open_.back().kind == Json::Kind::array)
            open_.back().items.push_back(std::move(json));
        else
            open_.back().members[keys_.back()] = std::move(json);  // the last of equal keys counts, as in Python
        return true;
    }
};

void write_string(const std::string& text, std::string& out) {
    static constexpr char digits[] = "0123456789abcdef";
    out += '"';
    for (unsigned char byte : text) {
        switch (byte) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            case '\f': out += "\\f"; break;
            case '\b': out += "\\b"; break;
            default:
                if (byte < 0x20) {
                    out += "\\u00";
                    out += digits[byte >> 4];
                    out += digits[byte & 15];
                } else {
                    out += static_cast<char>(byte);
                }
        }
    }
    out += '"';
}

void write(const Json& value, std::string& out) {
    switch (value.kind) {
        case Json::Kind::null: out += "null"; break;
        case Json::Kind::boolean: out += value.boolean ? "true" : "false"; break;
        case Json::Kind::integer: out += value.text; break;
        case Json::Kind::floating: out += python_float(value.floating); break;
        case Json::Kind::string: write_string(value.text, out); break;
        case Json::Kind::array: {
            out += '[';
            bool first = true;
            for (const Json& item : value.items) {
                if (!std::exchange(first, false)) out += ',';
                write(item, out);
            }
            out += ']';
            break;
        }
        case Json::Kind::object: {
            out += '{';
            bool first = true;
            for (const auto& [name, member] : value.members) {  // bytes of UTF-8 sort as code points do
                if (!std::exchange(first, false)) out += ',';
                write_string(name, out);
                out += ':';
                write(member, out);
            }
            out += '}';
            break;
        }
    }
}

}  // namespace

const Json* Json::find(const std::string& name) const {
    auto found = members.find(name);
    return found == members.end() ? nullptr : &found->second;
}

std::int64_t Json::integer() const {
    std::int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc::result_out_of_range) return text[0] == '-' ? INT64_MIN : INT64_MAX;
    return value;
}

double Json::number() const {
    return kind == Kind::floating ? floating : std::strtod(text.c_str(), nullptr);
}

Json parse_json(std::string_view data, std::size_t most_values) {
    // Two things that nlohmann's reader takes and Python's does not: a byte order mark, and a zero byte as the end.
    if (data.substr(0, 3) == "\xEF\xBB\xBF") throw JsonError("it begins with a byte order mark");
    if (data.find('\0') != std::string_view::npos) throw JsonError("it holds a zero byte");
    Builder builder(most_values);
    if (!nlohmann::json::sax_parse(data.begin(), data.end(), &builder))
        throw JsonError(builder.failure.empty() ? "it is no JSON" : builder.failure);
    return std::move(builder.root);
}

std::string python_float(double value) {
    if (!std::isfinite(value)) throw JsonError("a number that is none");
    char buffer[40];
    // The shortest digits that read back as the same double; Python lays them out by their exponent.
    auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
    std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
    std::string sign;
    if (text[0] == '-') {
        sign = "-";
        text.remove_prefix(1);
    }
    std::size_t mark = text.find('e');
    int exponent = std::atoi(std::string(text.substr(mark + 1)).c_str());
    std::string digits;
    for (char character : text.substr(0, mark))
        if (character != '.') digits += character;
    int count = static_cast<int>(digits.size());
    if (exponent < -4 || exponent >= 16) {
        std::string mantissa = digits.substr(0, 1) + (count > 1 ? "." + digits.substr(1) : "");
        char tail[16];
        std::snprintf(tail, sizeof tail, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
        return sign + mantissa + tail;
    }
    if (exponent < 0) return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
    if (count <= exponent + 1) return sign + digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
    return sign + digits.substr(0, static_cast<std::size_t>(exponent + 1)) + "." +
           digits.substr(static_cast<std::size_t>(exponent + 1));
}

std::string canonical_json(const Json& value) {
    std::string out;
    write(value, out);
    return out + "\n";
}

}  // namespace physedge
