#include "signature.hpp"

#include "hash.hpp"
#include "patterns.hpp"
#include "refusal.hpp"
#include "text.hpp"
#include "update.hpp"

namespace physedge {

namespace {

constexpr std::size_t shown_digits = 12;

struct Signature {
    std::string key_id;
    std::optional<Day> not_after;
    std::string bytes;  // 64
    std::string head;   // the entry without the signature
};

// Reads fixed text and fields off the front of the entry.
class Reader {
public:
    explicit Reader(std::string_view rest) : rest_(rest) {}

    bool text(std::string_view wanted) {
        if (rest_.substr(0, wanted.size()) != wanted) return false;
        rest_.remove_prefix(wanted.size());
        return true;
    }
    bool hexadecimal(std::size_t digits, std::string& found) {
        if (rest_.size() < digits) return false;
        for (char character : rest_.substr(0, digits))
            if (!is_digit(character) && !(character >= 'a' && character <= 'f')) return false;
        found = rest_.substr(0, digits);
        rest_.remove_prefix(digits);
        return true;
    }
    bool day(std::optional<Day>& found) {
        if (text("null")) return true;
        if (!text("\"") || !is_day(rest_.substr(0, 10))) return false;
        found = Day(rest_.substr(0, 10));
        rest_.remove_prefix(10);
        return text("\"");
    }
    bool at_end() const { return rest_.empty(); }

private:
    std::string_view rest_;
};

std::string head_of(const Signature& signature) {
    std::string last_day = signature.not_after ? "\"" + *signature.not_after + "\"" : "null";
    return "{\"algorithm\":\"ed25519\",\"key_id\":\"" + signature.key_id + "\",\"not_after\":" + last_day +
           ",\"schema_version\":1}\n";
}

std::string bytes_from(const std::string& digits) {
    std::string bytes;
    for (std::size_t index = 0; index < digits.size(); index += 2) {
        auto value = [](char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; };
        bytes += static_cast<char>(value(digits[index]) << 4 | value(digits[index + 1]));
    }
    return bytes;
}

Signature parse_signature(std::string_view data, const std::string& origin) {
    Signature signature;
    std::string digits;
    Reader reader(data);
    bool is_whole = reader.text("{\"algorithm\":\"ed25519\",\"key_id\":\"") && reader.hexadecimal(64, signature.key_id) &&
                    reader.text("\",\"not_after\":") && reader.day(signature.not_after) &&
                    reader.text(",\"schema_version\":1,\"signature\":\"") && reader.hexadecimal(128, digits) &&
                    reader.text("\"}\n") && reader.at_end();
    if (!is_whole)
        refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-006", "the SIGNATURE of " + origin + " is not in its form",
               "one line as physedge sign writes it",
               "ask the maker for a bundle signed by a physedge of this generation");
    signature.bytes = bytes_from(digits);
    signature.head = head_of(signature);
    return signature;
}

std::string names(const TrustStore& trust) {
    std::string text;
    for (const TrustedKey& key : trust.keys)
        text += (text.empty() ? "" : " or ") + key.name + " (" + key.key_id.substr(0, shown_digits) + ")";
    return text;
}

}  // namespace

std::string check_signature(std::string_view manifest, std::optional<std::string_view> entry, const TrustStore& trust,
                            const std::string& origin) {
    if (trust.revoked_bundles.count(sha256(manifest)) != 0)
        refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-010", origin + " was revoked", "a bundle that may still run",
               "install a newer release");
    std::optional<Signature> signature;
    if (entry) signature = parse_signature(*entry, origin);
    std::string weakened = trust.weakened.empty() ? "" : "; weakened by " + trust.weakened;
    if (trust.keys.empty()) return (signature ? "signature not checked" : "unsigned") + weakened;
    if (!signature)
        refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-005", origin + " is not signed", "the signature of " + names(trust),
               "have it signed with physedge sign");
    std::string shown = signature->key_id.substr(0, shown_digits);
    if (trust.revoked_keys.count(signature->key_id) != 0)
        refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-010", origin + " is signed by the revoked key " + shown,
               "a key that counts", "have it signed anew");
    const TrustedKey* key = trust.find(signature->key_id);
    if (key == nullptr)
        refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-007",
               origin + " is signed by the key " + shown + ", which is not trusted here",
               "the signature of " + names(trust),
               "check where the bundle comes from; a key is trusted by --trust or device.toml");
    Day today = trust.today ? *trust.today : judging_day(trust.root);
    for (const auto& [what, last_day] : {std::pair{"the signature of " + origin, signature->not_after},
                                         std::pair{"the key " + key->name, key->not_after}})
        if (last_day && today > *last_day)
            refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-009", what + " expired after " + *last_day,
                   "one that counts on " + today, "have it signed anew");
    std::string message = "physedge bundle signature 1\n" + signature->head;
    message += manifest;
    if (!verify_ed25519(key->public_key, message, signature->bytes))
        refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-008", "the signature of " + origin + " does not belong to its manifest",
               "what " + key->name + " signed", "do not use it; ask its maker");
    return "signed by " + key->name + " (" + key->key_id.substr(0, shown_digits) + ")" + weakened;
}

}  // namespace physedge
