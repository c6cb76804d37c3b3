// Bodies of requests and of answers: JSON with limits, and a merge patch onto itself.

#include "boost/json.hpp"

#include <cstdint>
#include <string_view>

#include "common/kube/json.h"
#include "common/kube/object.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto value = kube::ParseJson(text);
  if (value.ok()) {
    const boost::json::value patch = *value;
    kube::MergePatch(*value, patch);
    if (kube::CanonicalJson(*value).empty()) __builtin_trap();
  }
  (void)kube::ParseQuantity(text);
  (void)kube::ParseTime(text);
  const auto object = kube::Object::Parse(text);
  if (object.ok()) {
    (void)object->key();
    (void)object->labels();
    (void)object->owner_references();
    (void)object->deletion_time();
  }
  return 0;
}
