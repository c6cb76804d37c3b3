// Hashes and random names, by OpenSSL.

#pragma once

#include <string>
#include <string_view>

namespace net {

std::string Sha256(std::string_view data);     // 32 raw bytes.
std::string Sha256Hex(std::string_view data);  // 64 hexadecimal digits.
std::string RandomHex(int digits);             // From the system's generator.
std::string RandomUuid();                      // Version 4.

// True for equal strings, in time that depends only on their length.
bool EqualInConstantTime(std::string_view a, std::string_view b);

}  // namespace net
