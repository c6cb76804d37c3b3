#include "common/catalog/gpu_types.h"

#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "common/catalog/yaml_fields.h"

namespace catalog {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

std::string Key(std::string_view provider, std::string_view name) {
  std::string key = absl::StrFormat("%s/%s", provider, name);
  absl::AsciiStrToLower(&key);
  return key;
}

// "8.6" → 806; -1 when it is no version.
int CapabilityNumber(std::string_view text) {
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos) return -1;
  int major = 0;
  int minor = 0;
  if (!absl::SimpleAtoi(std::string(text.substr(0, dot)), &major) ||
      !absl::SimpleAtoi(std::string(text.substr(dot + 1)), &minor)) {
    return -1;
  }
  if (major < 0 || major > 999 || minor < 0 || minor > 99) return -1;
  return major * 100 + minor;
}

GpuType ReadType(YamlFields& fields, const std::string& provider) {
  GpuType type{
      .provider = provider,
      .name = fields.RequiredText("name"),
      .gpus = static_cast<int>(fields.RequiredInt("gpus", 0, 1024)),
      .memory_total_gib = fields.Number("memoryTotalGiB").value_or(0),
      .model = fields.Text("model"),
      .compute_capability = fields.Text("computeCapability"),
      .local_nvme = fields.Bool("localNvme", false),
      .vendor = fields.Text("vendor"),
      .vcpus = static_cast<int>(fields.Int("vcpus", 0, 4096)),
      .host_memory_gib = fields.Number("hostMemoryGiB").value_or(0),
      .quota_family = fields.Text("quotaFamily"),
      .arch = fields.Text("arch", "amd64"),
      .zones = fields.Texts("zones"),
      .usd_per_hour = fields.Number("usdPerHour"),
  };
  if (type.gpus > 0 && (type.memory_total_gib <= 0 || type.memory_total_gib > 1e6)) {
    fields.Report("memoryTotalGiB", "must be above 0 for a type with GPUs");
  }
  if (type.gpus > 0 && type.vendor.empty()) fields.Report("vendor", "is missing");
  if (!type.compute_capability.empty() && CapabilityNumber(type.compute_capability) < 0) {
    fields.Report("computeCapability", "is no version such as \"8.0\"");
  }
  return type;
}

}  // namespace

int64_t GpuType::memory_total_bytes() const {
  return static_cast<int64_t>(std::llround(memory_total_gib * kGiB));
}

int64_t GpuType::gpu_bytes() const { return gpus > 0 ? memory_total_bytes() / gpus : 0; }

bool GpuType::HasComputeCapability(std::string_view wanted) const {
  const int own = CapabilityNumber(compute_capability);
  return own >= 0 && own >= CapabilityNumber(wanted);
}

GpuTypes::GpuTypes(std::vector<GpuType> types) {
  for (GpuType& type : types) {
    std::string key = Key(type.provider, type.name);
    types_.insert_or_assign(std::move(key), std::move(type));
  }
}

GpuTypes GpuTypes::Load(const std::string& folder, std::vector<Problem>& problems) {
  GpuTypes result;
  ForEachYamlFile(folder, problems, [&](const std::string& file, const YAML::Node& document) {
    YamlFields fields(document, file, "", problems);
    const std::string provider = fields.RequiredText("provider");
    if (provider.empty()) return;
    for (YamlFields& entry : fields.Maps("types")) {
      const size_t problems_before = problems.size();
      GpuType type = ReadType(entry, provider);
      entry.Finish();
      if (problems.size() != problems_before) continue;
      std::string key = Key(provider, type.name);
      const auto [place, added] = result.types_.emplace(std::move(key), std::move(type));
      if (!added) entry.Report("name", absl::StrFormat("%s is listed twice", place->second.name));
    }
    fields.Finish();
  });
  return result;
}

const GpuType* GpuTypes::Find(std::string_view provider, std::string_view name) const {
  const auto found = types_.find(Key(provider, name));
  return found == types_.end() ? nullptr : &found->second;
}

std::vector<const GpuType*> GpuTypes::All(std::string_view provider) const {
  std::vector<const GpuType*> all;
  for (const auto& [key, type] : types_) {
    if (provider.empty() || absl::EqualsIgnoreCase(type.provider, std::string(provider))) {
      all.push_back(&type);
    }
  }
  return all;
}

}  // namespace catalog
