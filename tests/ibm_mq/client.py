"""A program of MQ's that uses IBM's own client package, ibmmq, as the tests tell it to.

Reads an order a line, as JSON, and answers each with a line of JSON:

    {"do": "connect", "address": "127.0.0.1(1414)", "user": "app", "password": "secret"}
    {"do": "open", "queue": "Q", "options": ["INPUT_SHARED"]}           -> {"queue": "Q"}
    {"do": "put", "queue": "Q", "text": "hi", "md": {"Priority": 7}}    -> {"md": {...}}
    {"do": "get", "queue": "Q", "wait": 1000}                           -> {"text", "md", ...}
    {"do": "inquire", "queue": "Q", "selectors": ["MQIA_CURRENT_Q_DEPTH"]}
    {"do": "close" | "commit" | "backout" | "disconnect" | "begin"}

What fails in MQ is answered with {"reason": 2033, "completion": 2}. Bytes are hexadecimal.
"""

import json
import sys

import ibmmq
from ibmmq import CMQC

IDS = ("MsgId", "CorrelId", "GroupId", "AccountingToken")


class Program:
    def __init__(self):
        self.manager = None
        self.queues = {}

    def connect(self, order):
        name = order.get("manager", "STANDIN")
        if "address" in order:
            self.manager = ibmmq.connect(
                name, "DEV.APP.SVRCONN", order["address"], order.get("user"), order.get("password")
            )
        else:
            # By the variable MQSERVER.
            self.manager = ibmmq.QueueManager(name)
        return {}

    def open(self, order):
        options = number("MQOO_", order["options"])
        descriptor = ibmmq.OD(ObjectName=order["queue"])
        if "dynamic" in order:
            descriptor["DynamicQName"] = order["dynamic"]
        queue = ibmmq.Queue(self.manager, descriptor, options)
        name = text(descriptor["ObjectName"])
        self.queues[name] = queue
        return {"queue": name}

    def close(self, order):
        self.queues.pop(order["queue"]).close(number("MQCO_", order.get("options", [])))
        return {}

    def put(self, order):
        descriptor = message_descriptor(order.get("md", {}))
        options = ibmmq.PMO(Options=number("MQPMO_", order.get("options", [])))
        if "text" in order:
            body = order["text"].encode(order.get("encoding", "utf-8"))
        else:
            body = bytes.fromhex(order["bytes"])
        if "folders" in order:
            header = ibmmq.RFH2(
                Encoding=order.get("inner_encoding", CMQC.MQENC_NATIVE),
                CodedCharSetId=order.get("inner_ccsid", 1208),
                Format=order.get("inner_format", "MQSTR   ").encode(),
                NameValueCCSID=1208,
            )
            for folder in order["folders"]:
                header.add_folder(folder.encode())
            descriptor["Format"] = CMQC.MQFMT_RF_HEADER_2
            body = header.pack(descriptor["Encoding"]) + body
        queue = self.queues.get(order["queue"])
        if queue is None:
            self.manager.put1(order["queue"], body, descriptor, options)
        else:
            queue.put(body, descriptor, options)
        return {"md": shown(descriptor), "resolved": text(options["ResolvedQName"])}

    def get(self, order):
        descriptor = message_descriptor(order.get("md", {}))
        options = ibmmq.GMO(Options=number("MQGMO_", order.get("options", [])))
        if "wait" in order:
            options["Options"] |= CMQC.MQGMO_WAIT
            options["WaitInterval"] = order["wait"]
        queue = self.queues[order["queue"]]
        message = queue.get(order.get("room"), descriptor, options)
        answer = {
            "md": shown(descriptor),
            "resolved": text(options["ResolvedQName"]),
            "returned": options["ReturnedLength"],
        }
        if descriptor["Format"] == CMQC.MQFMT_RF_HEADER_2:
            header = ibmmq.RFH2()
            header.unpack(message, descriptor["Encoding"])
            answer["folders"] = {
                name: header[name].decode().rstrip() for name in header.get_folders()
            }
            answer["inner_format"] = header["Format"].decode()
            answer["inner_ccsid"] = header["CodedCharSetId"]
            message = message[header["StrucLength"] :]
        answer["bytes"] = message.hex()
        answer["text"] = message.decode("utf-8", "replace")
        return answer

    def inquire(self, order):
        selectors = [getattr(CMQC, name) for name in order["selectors"]]
        values = self.queues[order["queue"]].inquire(selectors)
        return {
            name: text(values[selector]) for name, selector in zip(order["selectors"], selectors)
        }

    def commit(self, _):
        self.manager.commit()
        return {}

    def backout(self, _):
        self.manager.backout()
        return {}

    def begin(self, _):
        self.manager.begin()
        return {}

    def disconnect(self, _):
        self.queues.clear()
        self.manager.disconnect()
        return {}


def number(prefix, names):
    """The sum of MQ's options of these names."""
    return sum(getattr(CMQC, prefix + name) for name in names)


def text(value):
    """A field without what it is padded with."""
    return value.split(b"\0")[0].decode().rstrip() if isinstance(value, bytes) else value


def message_descriptor(said):
    descriptor = ibmmq.MD()
    for name, value in said.items():
        descriptor[name] = bytes.fromhex(value) if name in IDS else value
    return descriptor


def shown(descriptor):
    fields = descriptor.get()
    return {
        name: value.hex() if name in IDS else text(value)
        for name, value in fields.items()
        if not name.startswith("_")
    }


def main():
    program = Program()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(program, order["do"])(order)
        except ibmmq.MQMIError as error:
            answer = {"reason": error.reason, "completion": error.comp}
        print(json.dumps(answer), flush=True)


main()
