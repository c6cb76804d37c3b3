#include "model-server/gateway/host_facts.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/str_format.h"

namespace model_server::gateway {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

struct Memory {
  double total_kib = 0;
  double available_kib = 0;
};

Memory ReadMemory() {
  std::ifstream file("/proc/meminfo");
  Memory memory;
  std::string name;
  double value = 0;
  std::string unit;
  while (file >> name >> value) {
    std::getline(file, unit);
    if (name == "MemTotal:") memory.total_kib = value;
    if (name == "MemAvailable:") memory.available_kib = value;
  }
  return memory;
}

int PhysicalCores() {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> cores;
  std::string line;
  std::string package;
  while (std::getline(file, line)) {
    if (line.starts_with("physical id")) package = line;
    if (line.starts_with("core id")) cores.insert(package + line);
  }
  // Some platforms list no cores.
  return cores.empty() ? static_cast<int>(std::thread::hardware_concurrency())
                       : static_cast<int>(cores.size());
}

std::string Gigabytes(double kib) { return absl::StrFormat("%.2f GB", kib * 1024 / kGiB); }

}  // namespace

HostFacts::HostFacts() : last_(ReadCpuTime()) {}

HostFacts::CpuTime HostFacts::ReadCpuTime() {
  std::ifstream file("/proc/stat");
  std::string name;
  file >> name;
  CpuTime time;
  uint64_t value = 0;
  // user nice system idle iowait irq softirq steal
  for (int i = 0; i < 8 && file >> value; ++i) {
    time.total += value;
    if (i != 3 && i != 4) time.busy += value;
  }
  return time;
}

std::string HostFacts::Json() {
  const Memory memory = ReadMemory();
  absl::MutexLock lock(&mutex_);
  const CpuTime now = ReadCpuTime();
  if (now.total > last_.total) {
    load_ = 100.0 * static_cast<double>(now.busy - last_.busy) /
            static_cast<double>(now.total - last_.total);
    last_ = now;
  }
  return absl::StrFormat(
      "{\"gpu_info\":null,\"cpu_info\":{\"load_percentage\":%.1f,\"physical_cores\":%d,"
      "\"total_cores\":%d,\"memory\":{\"used\":\"%s\",\"total\":\"%s\"}}}",
      std::clamp(load_, 0.0, 100.0), PhysicalCores(), std::thread::hardware_concurrency(),
      Gigabytes(memory.total_kib - memory.available_kib), Gigabytes(memory.total_kib));
}

}  // namespace model_server::gateway
