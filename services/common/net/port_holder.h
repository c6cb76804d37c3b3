// Who listens on a port, for error messages that help.

#pragma once

#include <string>

namespace net {

// "nginx (pid 812)" for the process that listens on TCP `port` of this host; "another process" when
// it cannot be seen (another user's). Reads /proc.
std::string DescribePortHolder(int port);

}  // namespace net
