// CRC-32C, as the log and the snapshots use it.

#pragma once

#include <cstdint>
#include <string_view>

namespace local_cluster {

uint32_t Crc32c(std::string_view data);

}  // namespace local_cluster
