// aedes.mjs FOLDER CERT KEY MQTT MQTTS WS WSS: the broker aedes on these ports of 127.0.0.1; FOLDER has its package and ws.
import { createRequire } from 'node:module'
import fs from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'

const [folder, cert, key, ...ports] = process.argv.slice(2)
const packages = createRequire(folder + '/')
const { Aedes } = await import(packages.resolve('aedes'))
const { WebSocketServer, createWebSocketStream } = packages('ws')

// As many messages may be under way as there are clients and more: a slow one must not stop the others.
const broker = await Aedes.createBroker({ concurrency: 5000, queueLimit: 100000 })
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key) }
const withWebSocket = (server) => {
  new WebSocketServer({ server, handleProtocols: () => 'mqtt' }).on('connection', (socket, request) => {
    const stream = createWebSocketStream(socket)
    stream.on('error', () => {})
    broker.handle(stream, request)
  })
  return server
}
const servers = [
  net.createServer(broker.handle),
  tls.createServer(options, broker.handle),
  withWebSocket(http.createServer()),
  withWebSocket(https.createServer(options))
]
servers.forEach((server, i) => server.on('tlsClientError', () => {}).on('clientError', () => {}).listen(ports[i], '127.0.0.1'))
process.stdin.on('end', () => process.exit()).resume()
