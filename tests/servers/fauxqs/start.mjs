// Starts the fauxqs whose server.js is named on the command line. It would listen on all addresses.
import net from "node:net";
import { pathToFileURL } from "node:url";

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, { ...options, host: "127.0.0.1" }, ...rest);
};
await import(pathToFileURL(process.argv[2]));
