import type { Agent } from "node:http";
import type { Duplex } from "node:stream";

/**
 * Keeps account, in `open`, of the connections that an agent makes to its proxy, and closes one whose
 * tunnel fails. Node forgets it, and a proxy that leaves it open too would keep the process alive after
 * its work is done.
 */
export function trackTunnels(agent: Agent, open: Set<Duplex>): void {
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) => {
    const socket = connect(options, (error, stream) => {
      if (error) socket?.destroy();
      callback?.(error, stream);
    });
    if (socket) {
      open.add(socket);
      socket.once("close", () => open.delete(socket));
    }
    return socket;
  };
}
