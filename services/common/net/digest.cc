#include "common/net/digest.h"

#include <vector>

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "common/base/check.h"

namespace net {
namespace {

std::string Hex(const unsigned char* data, size_t size) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(size * 2);
  for (size_t i = 0; i < size; ++i) {
    out.push_back(kDigits[data[i] >> 4]);
    out.push_back(kDigits[data[i] & 15]);
  }
  return out;
}

}  // namespace

std::string Sha256(std::string_view data) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(),
         reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

std::string Sha256Hex(std::string_view data) {
  const std::string digest = Sha256(data);
  return Hex(reinterpret_cast<const unsigned char*>(digest.data()), digest.size());
}

std::string RandomHex(int digits) {
  std::vector<unsigned char> bytes(static_cast<size_t>(digits + 1) / 2);
  // Without random bytes every secret would be guessable.
  CHECK(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1);
  return Hex(bytes.data(), bytes.size()).substr(0, static_cast<size_t>(digits));
}

std::string RandomUuid() {
  std::string hex = RandomHex(32);
  hex[12] = '4';                                                             // Version.
  hex[16] = "89ab"[std::string_view("0123456789abcdef").find(hex[16]) & 3];  // Variant.
  for (const size_t at : {8, 13, 18, 23}) hex.insert(at, 1, '-');
  return hex;
}

bool EqualInConstantTime(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace net
